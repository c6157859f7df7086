// SPDX-License-Identifier: GPL-3.0-or-later
/* The voices of one side for `make bench-peer`, which peer_voices.py describes. Unlike those of parties.c they keep time
 * themselves, as telephones do: a server that only passes on what it gets would never get anything from voices that only answer.
 *
 * peer_voices PORT < SPEECH: prints "ready". Whoever sends RTP there is spoken to from then on, a packet of speech (mu-law) every
 * 20 ms, also while nothing comes. SIGUSR1: what is heard from now on is counted; SIGUSR2: no longer. SIGTERM: prints as JSON
 * how long was counted, and of each line packets, gaps over 60 ms, the longest gap in ms and, in hex, what was heard last.
 * Compiled with BACKWARDS it says the speech backwards, so that what one side hears cannot be taken for its own voice. */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { FRAME = 160, HEAD = 12, LONGEST = 2048, AT_ONCE = 64, LINES = 1 << 12, SPEECH = 1 << 20, BUFFER = 8 << 20, KEPT = 32000 };
static const double LONG_GAP_S = 0.060, FRAME_S = 0.020, BEHIND_S = 0.2;
/* Turns are short beside a frame, so that lines do not all speak at the same moment. */
static const struct timespec TURN = {0, 2000000};

struct line { // known by the server's port
    struct sockaddr_in peer;
    double heard, due; // when the last packet came; when the next one is to be sent
    double gap;
    uint32_t said, packets, late, filled;
    uint8_t kept[KEPT]; // a ring
};

static struct line *lines[LINES];
static int count;
static uint8_t speech[SPEECH];
static size_t frames;
static double began, ended;
static volatile sig_atomic_t counting, ending;

static void on_signal(int number)
{
    if (number == SIGTERM)
        ending = 1;
    else
        counting = number == SIGUSR1;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time); // the clock of the kernel's stamps
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double arrival(struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(part), sizeof stamp);
            return (double)stamp.tv_sec + (double)stamp.tv_nsec / 1e9;
        }
    fputs("the kernel stamps no packets\n", stderr);
    exit(1);
}

static struct line *find(const struct sockaddr_in *peer)
{
    static struct line *of_port[1 << 16]; // all servers are on this machine's loopback: the port says which line it is
    struct line **place = &of_port[ntohs(peer->sin_port)];
    if (!*place) {
        if (count == LINES || !(*place = calloc(1, sizeof **place)))
            fail("lines");
        (*place)->peer = *peer;
        lines[count++] = *place;
    }
    return *place;
}

static void gap(struct line *line, double until)
{
    const double length = until - line->heard;
    if (length > line->gap)
        line->gap = length;
    line->late += length > LONG_GAP_S;
}

static void hear(struct line *line, double at, const uint8_t *payload, size_t length)
{
    if (line->heard && began && !ended)
        gap(line, at);
    line->heard = at;
    if (!began || ended)
        return;
    line->packets++;
    for (size_t n = 0; n < length; n++)
        line->kept[line->filled++ % KEPT] = payload[n];
}

static void listen_to(int sock)
{
    static uint8_t in[AT_ONCE][LONGEST];
    static struct sockaddr_in from[AT_ONCE];
    static char control[AT_ONCE][CMSG_SPACE(sizeof(struct timespec))];
    struct mmsghdr got[AT_ONCE];
    struct iovec into[AT_ONCE];
    int found;
    do {
        for (int n = 0; n < AT_ONCE; n++) {
            into[n] = (struct iovec){in[n], LONGEST};
            got[n].msg_hdr = (struct msghdr){.msg_name = &from[n], .msg_namelen = sizeof from[n], .msg_iov = &into[n],
                .msg_iovlen = 1, .msg_control = control[n], .msg_controllen = sizeof control[n]};
        }
        found = recvmmsg(sock, got, AT_ONCE, MSG_DONTWAIT, NULL);
        for (int n = 0; n < found; n++)
            if (got[n].msg_len > HEAD && (in[n][1] & 0x7F) == 0)
                hear(find(&from[n]), arrival(&got[n].msg_hdr), in[n] + HEAD, got[n].msg_len - HEAD);
    } while (found == AT_ONCE);
}

static void send_all(int sock, struct mmsghdr *packets, int ready)
{
    for (int sent = 0; sent < ready;) {
        const int done = sendmmsg(sock, packets + sent, (unsigned)(ready - sent), 0);
        sent += done > 0 ? done : 1; // one that cannot be sent is lost, as on a line
    }
}

static void speak(int sock)
{
    static uint8_t out[AT_ONCE][HEAD + FRAME];
    struct mmsghdr packets[AT_ONCE];
    struct iovec what[AT_ONCE];
    const double at = now();
    int ready = 0;
    for (int n = 0; n < count; n++) {
        struct line *line = lines[n];
        if (at - line->due > BEHIND_S)
            line->due = at;
        for (; line->due <= at; line->due += FRAME_S) {
            const uint32_t said = line->said++, stamp = htonl(said * FRAME), source = htonl((uint32_t)n + 1);
            const uint16_t sequence = htons((uint16_t)said);
            uint8_t *packet = out[ready];
            packet[0] = 0x80;
            packet[1] = 0;
            memcpy(packet + 2, &sequence, sizeof sequence);
            memcpy(packet + 4, &stamp, sizeof stamp);
            memcpy(packet + 8, &source, sizeof source);
            memcpy(packet + HEAD, speech + said % frames * FRAME, FRAME);
            what[ready] = (struct iovec){packet, HEAD + FRAME};
            packets[ready].msg_hdr = (struct msghdr){
                .msg_name = &line->peer, .msg_namelen = sizeof line->peer, .msg_iov = &what[ready], .msg_iovlen = 1};
            if (++ready == AT_ONCE) {
                send_all(sock, packets, ready);
                ready = 0;
            }
        }
    }
    send_all(sock, packets, ready);
}

static void count_or_not(void)
{
    if (counting && !began)
        began = now();
    if (!counting && began && !ended) {
        ended = now();
        for (int n = 0; n < count; n++)
            gap(lines[n], ended);
    }
}

static void report(void)
{
    printf("{\"seconds\": %.3f, \"lines\": [", ended - began);
    for (int n = 0; n < count; n++) {
        const struct line *line = lines[n];
        printf("%s{\"packets\": %u, \"late\": %u, \"gap_ms\": %.1f, \"audio\": \"", n ? ", " : "", line->packets, line->late,
            line->gap * 1000);
        const uint32_t kept = line->filled < KEPT ? line->filled : KEPT;
        for (uint32_t place = line->filled - kept; place < line->filled; place++)
            printf("%02x", line->kept[place % KEPT]);
        printf("\"}");
    }
    puts("]}");
}

int main(int arguments, char **values)
{
    frames = fread(speech, 1, sizeof speech, stdin) / FRAME;
    if (arguments != 2 || !frames) {
        fputs("peer_voices PORT < SPEECH\n", stderr);
        return 2;
    }
#ifdef BACKWARDS
    for (size_t n = 0, last = frames * FRAME - 1; n < last; n++, last--) {
        const uint8_t first = speech[n];
        speech[n] = speech[last];
        speech[last] = first;
    }
#endif
    signal(SIGTERM, on_signal);
    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, on_signal);
    const int sock = socket(AF_INET, SOCK_DGRAM, 0);
    const int one = 1, room = BUFFER;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(values[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one)
        || setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &room, sizeof room)
        || setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &room, sizeof room)
        || bind(sock, (struct sockaddr *)&here, sizeof here))
        fail("socket");
    puts("ready");
    fflush(stdout);
    while (!ending) {
        nanosleep(&TURN, NULL);
        listen_to(sock);
        speak(sock);
        count_or_not();
    }
    report();
    return 0;
}
