/* The log's relay: a small process between our standard error and whoever reads it.
 *
 * A write to a pipe, a terminal or a file may block for as long as somebody else pleases, and its descriptor cannot be
 * made non-blocking: it is shared with those who started us. So all our processes write their lines into a pipe of
 * our own, which is non-blocking, and the relay alone waits for the reader. When the reader stops, the pipe fills, and
 * log.h counts what is lost.
 *
 * The relay may read, write, wait and end, says its filter of system calls. It has no exit signal: wait4() of the loop
 * does not see it, its pidfd does. It ends when the last of our processes has, once everything is written; so what we
 * said last is not lost when we crash. */
#ifndef SAFE_SCRIPT_RELAY_H
#define SAFE_SCRIPT_RELAY_H

#include "fault.h"

#include <stdint.h>
#include <sys/types.h>

struct relay {
    pid_t pid;       /* 0: none */
    int pidfd;       /* readable when it has ended; -1 with pid 0 */
    int source;      /* the reading end of our pipe; -1: standard error is what it was at the start */
    int destination; /* standard error as we were given it */
    uint64_t started_us;
    unsigned failures; /* in a row, that did not live a second */
    uint64_t retry_us; /* not started again before */
};

/* Puts the pipe in the place of standard error and starts the relay. Returns 0, or -1 with *fault: all is as before. */
int relay_open(struct relay *relay, uint64_t now_us, struct fault *fault);

/* The relay has ended. Until another is started lines wait in the pipe, whose reading end is ours as well. */
void relay_lost(struct relay *relay, uint64_t now_us);

/* When another relay is to be started: UINT64_MAX where there is one, or none is wanted. */
uint64_t relay_due(const struct relay *relay);

/* Starts another relay. Returns 0 with relay->pidfd a new one, or -1 with *fault: relay_due() says when to try again.
 */
int relay_again(struct relay *relay, uint64_t now_us, struct fault *fault);

/* Gives it some seconds to write what is left, and the first standard error back. To be called when our other processes
 * have ended. */
void relay_close(struct relay *relay);

#endif
