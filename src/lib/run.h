/* The nouns of a run that more than one process speaks of.
 *
 * Facts are what the supervisor saw itself: the wait status, its own timer, the cgroup's events, the kernel's word on a
 * signal that the script sent to itself. No byte of the script's is among them. */
#ifndef SAFE_SCRIPT_RUN_H
#define SAFE_SCRIPT_RUN_H

#include "limit.h"

#include <stdint.h>

/* Why the supervisor killed the run; CAUSE_NONE: it ended by itself. */
enum cause {
    CAUSE_NONE,
    CAUSE_WALL,      /* our timer, or the front's if ours should fail */
    CAUSE_CPU,       /* the run's CPU clock or RLIMIT_CPU */
    CAUSE_DISK,      /* the run's box, where no tmpfs bounds it */
    CAUSE_PROCESSES, /* its threads, or that it has made a process at all, where no cgroup counts them */
    CAUSE_OUTPUT,    /* the front saw OUTPUT_KILL_FACTOR times the output limit */
    CAUSE_RESULT,    /* the front saw a report longer than any honest one */
    CAUSE_CANCELLED, /* DELETE, or the client has gone */
    CAUSE_LOST,      /* ours: the jail could not be made, or something outside killed it twice */
    CAUSE_COUNT
};

/* One kind of denied system call. `number` is the system call, `detail` the argument that its policy row names (for
 * socket the family, for ioctl the request), 0 where it names none. */
struct denial {
    int32_t number;
    uint32_t detail;
    uint32_t count;
};

enum { DENIALS_KEPT = 16 };

struct facts {
    uint32_t cause;       /* enum cause */
    int32_t wait_status;  /* as waitpid gives it; or would, had the run not asked us to end it */
    int32_t self_signal;  /* fatal signal that the script sent to itself, 0 for none */
    uint32_t oom_kills;   /* by the run's cgroup */
    uint32_t fork_denied; /* times that the run's pids cgroup refused a process or thread */
    uint32_t disk_short;  /* 1: others' files had taken room that the run was to have */
    uint32_t layers;      /* bit set of enum layer_id (jail/jail.h): the layers that were on for this run */
    uint64_t queued_us, wall_us, cpu_us;
    uint64_t memory_peak_bytes, processes_peak; /* 0: not known here */
    uint32_t denials;
    uint32_t denials_cut; /* 1 when the script was denied so often that counting stopped */
    struct denial denied[DENIALS_KEPT];
};

#endif
