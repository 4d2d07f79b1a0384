/* What a run uses where no cgroup counts it: the kernel's own numbers in /proc, never the script's memory. */
#ifndef SAFE_SCRIPT_WATCH_H
#define SAFE_SCRIPT_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct watched {
    uint64_t memory_bytes; /* what it has touched, shared mappings and page tables included; what only lies in files is
                              not in it */
    uint64_t threads;
    bool children; /* it has made a process: where nothing counts them, a run may have none */
};

/* The one child that a process of one thread has; 0 where there is none, or are several. */
pid_t watch_only_child(pid_t pid);

/* All zero where the process has gone. */
struct watched watch_process(pid_t pid);

#endif
