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
    pid_t pid;       /* 0: none, and standard error is what it was at the start */
    int pidfd;       /* readable when it has ended; -1 with pid 0 */
    int source;      /* the reading end of our pipe */
    int destination; /* standard error as we were given it */
    uint64_t started_us;
};

/* Puts the pipe in the place of standard error and starts the relay. Returns 0, or -1 with *fault: all is as before. */
int relay_open(struct relay *relay, uint64_t now_us, struct fault *fault);

/* The relay has ended: starts another one, unless that one could not live a second; then standard error is the first
 * one again. Returns 0 when relay->pidfd is a new one. */
int relay_lost(struct relay *relay, uint64_t now_us, struct fault *fault);

/* Gives it some seconds to write what is left, and the first standard error back. To be called when our other processes
 * have ended. */
void relay_close(struct relay *relay);

#endif
