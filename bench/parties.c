// SPDX-License-Identifier: GPL-3.0-or-later
/* The voices of one side, which parties.py describes. In C because it shares the processors with what is measured.
 *
 * parties PORT < SPEECH: prints "ready", answers each RTP packet with one of speech (mu-law, 20 ms a packet, from standard
 * input) until SIGTERM, and prints what it heard as JSON: streams, packets, gaps over 60 ms, each stream's longest in ms. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 160, HEAD = 12, LONGEST = 2048, AT_ONCE = 64, STREAMS = 1 << 13, SPEECH = 1 << 20, BUFFER = 8 << 20 };
static const double LONG_GAP_S = 0.060;
static const struct timespec POLL = {0, 4000000};

struct stream { // from the server, known by its source and SSRC, and the one that answers it
    uint32_t address, ssrc;
    uint16_t port;
    uint32_t packets;
    uint32_t late;
    double last, gap;
};

static struct stream streams[STREAMS];
static volatile sig_atomic_t ending;

static void end(int number)
{
    (void)number;
    ending = 1;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static struct stream *find(const struct sockaddr_in *source, uint32_t ssrc)
{
    uint32_t place = (ssrc ^ source->sin_addr.s_addr ^ ((uint32_t)source->sin_port << 13)) * 2654435761u;
    for (int tries = 0; tries < STREAMS; tries++, place++) {
        struct stream *stream = &streams[place % STREAMS];
        if (!stream->packets) {
            *stream = (struct stream){.address = source->sin_addr.s_addr, .ssrc = ssrc, .port = source->sin_port};
            return stream;
        }
        if (stream->ssrc == ssrc && stream->port == source->sin_port && stream->address == source->sin_addr.s_addr)
            return stream;
    }
    fprintf(stderr, "more than %d streams\n", STREAMS);
    exit(1);
}

static void heard(struct stream *stream, double at)
{
    const double gap = at - stream->last;
    if (stream->packets++) {
        if (gap > stream->gap)
            stream->gap = gap;
        if (gap > LONG_GAP_S)
            stream->late++;
    }
    stream->last = at;
}

static double arrival(struct msghdr *message)
{
    struct timespec stamp = {0, 0};
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_TIMESTAMPNS)
            memcpy(&stamp, CMSG_DATA(part), sizeof stamp);
    return (double)stamp.tv_sec + (double)stamp.tv_nsec / 1e9;
}

static void report(void)
{
    unsigned long packets = 0, late = 0, count = 0;
    for (int n = 0; n < STREAMS; n++) {
        count += streams[n].packets > 0;
        packets += streams[n].packets;
        late += streams[n].late;
    }
    printf("{\"streams\": %lu, \"packets\": %lu, \"late\": %lu, \"gaps_ms\": [", count, packets, late);
    const char *between = "";
    for (int n = 0; n < STREAMS; n++)
        if (streams[n].packets) {
            printf("%s%.1f", between, streams[n].gap * 1000);
            between = ", ";
        }
    puts("]}");
}

int main(int count, char **arguments)
{
    static uint8_t speech[SPEECH], in[AT_ONCE][LONGEST], out[AT_ONCE][HEAD + FRAME];
    static struct sockaddr_in from[AT_ONCE];
    static char control[AT_ONCE][CMSG_SPACE(sizeof(struct timespec))];
    struct mmsghdr got[AT_ONCE], answers[AT_ONCE];
    struct iovec into[AT_ONCE], what[AT_ONCE];

    const size_t frames = fread(speech, 1, sizeof speech, stdin) / FRAME;
    if (count != 2 || !frames) {
        fputs("parties PORT < SPEECH\n", stderr);
        return 2;
    }
    signal(SIGTERM, end);
    const int sock = socket(AF_INET, SOCK_DGRAM, 0);
    const int one = 1, room = BUFFER;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one)
        || setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &room, sizeof room)
        || setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &room, sizeof room)
        || bind(sock, (struct sockaddr *)&here, sizeof here))
        fail("socket");
    puts("ready");
    fflush(stdout);

    while (!ending) {
        nanosleep(&POLL, NULL);
        int found;
        do {
            for (int n = 0; n < AT_ONCE; n++) {
                into[n] = (struct iovec){in[n], LONGEST};
                got[n].msg_hdr = (struct msghdr){.msg_name = &from[n], .msg_namelen = sizeof from[n], .msg_iov = &into[n],
                    .msg_iovlen = 1, .msg_control = control[n], .msg_controllen = sizeof control[n]};
            }
            found = recvmmsg(sock, got, AT_ONCE, MSG_DONTWAIT, NULL);
            int spoken = 0;
            for (int n = 0; n < found; n++) {
                if (got[n].msg_len < HEAD || (in[n][1] & 0x7F) != 0)
                    continue;
                uint32_t ssrc;
                memcpy(&ssrc, in[n] + 8, sizeof ssrc);
                struct stream *stream = find(&from[n], ssrc);
                heard(stream, arrival(&got[n].msg_hdr));
                const uint32_t number = stream->packets;
                const uint16_t sequence = htons((uint16_t)number);
                const uint32_t stamp = htonl(number * FRAME), ours = htonl(ntohs(from[n].sin_port));
                uint8_t *packet = out[spoken];
                packet[0] = 0x80;
                packet[1] = 0;
                memcpy(packet + 2, &sequence, sizeof sequence);
                memcpy(packet + 4, &stamp, sizeof stamp);
                memcpy(packet + 8, &ours, sizeof ours);
                memcpy(packet + HEAD, speech + number % frames * FRAME, FRAME);
                what[spoken] = (struct iovec){packet, HEAD + FRAME};
                answers[spoken].msg_hdr = (struct msghdr){
                    .msg_name = &from[n], .msg_namelen = sizeof from[n], .msg_iov = &what[spoken], .msg_iovlen = 1};
                spoken++;
            }
            /* A port that is closed already ends a batch: the rest goes on after it. */
            for (int sent = 0; sent < spoken;) {
                const int done = sendmmsg(sock, answers + sent, (unsigned)(spoken - sent), 0);
                sent += done > 0 ? done : 1;
            }
        } while (found == AT_ONCE);
    }
    report();
    return 0;
}
