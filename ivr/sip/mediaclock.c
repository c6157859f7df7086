// SPDX-License-Identifier: GPL-3.0-or-later
/* The loop of the media clock, which mediaclock.py describes and has once more in Python. It is here because fifty workers
 * tick fifty times a second each: the interpreter, cold in the processor's caches at every tick, costs more than the
 * frame that is made. Nothing of PJSIP is linked: Python hands over the functions. The interpreter's lock is not held. */

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stddef.h>
#include <time.h>

struct time_val { // pj_time_val
    long sec, msec;
};

struct frame { // pjmedia_frame
    int type;
    void *buffer;
    size_t size;
    uint64_t timestamp;
    uint32_t bit_info;
};

struct clock { // _Clock in mediaclock.py
    int (*poll)(void *queue, const struct time_val *timeout);
    int (*get_frame)(void *port, struct frame *frame);
    void *queue;
    void *bridge;
    void *buffer;
    int32_t samples;
    int32_t full_poll;
    int32_t most_polls;
    _Atomic int32_t ticking;
    int64_t tick_ns;
    int64_t late_ns;
    _Atomic int64_t turned_ns;
    _Atomic int64_t ticks; // odd while one is under way
};

/* So that a library that was compiled for another version is not used. */
size_t assent_clock_size(void)
{
    return sizeof(struct clock);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_until(int64_t due)
{
    const struct timespec then = {due / 1000000000, due % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, NULL) == EINTR) {
    }
}

/* Ticks until `ticking` is 0. */
void assent_tick_on(struct clock *clock)
{
    static const struct time_val no_wait = {0, 0};
    struct frame frame = {0, clock->buffer, 0, 0, 0};
    int64_t due = (now_ns() / clock->tick_ns + 1) * clock->tick_ns;

    while (atomic_load(&clock->ticking)) {
        for (int polls = 0; polls < clock->most_polls; polls++)
            if (clock->poll(clock->queue, &no_wait) < clock->full_poll)
                break;
        frame.size = (size_t)clock->samples * sizeof(int16_t);
        atomic_fetch_add(&clock->ticks, 1);
        atomic_thread_fence(memory_order_seq_cst); // what a port is given is never seen before the odd number
        clock->get_frame(clock->bridge, &frame);
        atomic_fetch_add(&clock->ticks, 1);
        frame.timestamp += (uint64_t)clock->samples;

        due += clock->tick_ns;
        const int64_t now = now_ns();
        atomic_store(&clock->turned_ns, now);
        if (due > now)
            sleep_until(due);
        else if (now - due > clock->late_ns)
            due = (now / clock->tick_ns + 1) * clock->tick_ns;
    }
}
