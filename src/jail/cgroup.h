/* The cgroup layer's work in the supervisor: a small directory of our own below the cgroup that we were started in, and
 * in it one cgroup per slot, made ahead and reused once empty. v1 (memory, pids, cpuacct, and cpu where there is one)
 * and v2 behind one interface. No function here is called by the zygote or a run. */
#ifndef SAFE_SCRIPT_CGROUP_H
#define SAFE_SCRIPT_CGROUP_H

#include "fault.h"
#include "limit.h"

#include <stdint.h>
#include <sys/types.h>

struct cgroups; /* the hierarchy: which version and controllers, open directory descriptors */
struct cgroup;  /* one slot's */

struct cgroup_usage {
    uint64_t cpu_us;
    uint64_t memory_peak_bytes, processes_peak; /* 0: the kernel does not tell */
    uint32_t oom_kills;                         /* since the last cgroup_reset() */
    uint32_t fork_denied;
};

/* Opens the hierarchy and makes our directory; removes those of servers that have died. NULL with
 * *fault where no memory and pids controller can be had. On v2, moves the calling process into a leaf of its own first
 * where that is needed to delegate controllers. */
struct cgroups *cgroups_open(struct fault *fault);

/* Kills what is left, removes our directory, frees. Blocks for up to a second. NULL is fine. */
void cgroups_close(struct cgroups *cgroups);

/* The directories below which cgroups_close() and the functions here change files; the hierarchy's own (do not close).
 * Returns how many. */
enum { CGROUPS_MOST = 4 };
size_t cgroups_bases(const struct cgroups *cgroups, int bases[CGROUPS_MOST]);

/* "v1: memory, pids, cpuacct" */
const char *cgroups_describe(const struct cgroups *cgroups);

/* Memory of all runs together, in bytes; 0 where that cannot be told. */
uint64_t cgroups_memory(const struct cgroups *cgroups);

struct cgroup *cgroup_new(struct cgroups *cgroups, struct fault *fault);
/* Removes it; it must be empty. */
void cgroup_free(struct cgroup *cgroup);

/* Zeroes the counters and sets memory, processes (and on v2 memory.oom.group) from limits. The cgroup must be empty. */
int cgroup_reset(struct cgroup *cgroup, const struct limits *limits, struct fault *fault);

/* Lowers memory and processes while a run is in it. */
int cgroup_lower(struct cgroup *cgroup, const struct limits *limits, struct fault *fault);

/* v2: a descriptor for CLONE_INTO_CGROUP, the cgroup's own (do not close). v1: -1, use cgroup_attach(). */
int cgroup_clone_fd(const struct cgroup *cgroup);
int cgroup_attach(struct cgroup *cgroup, pid_t pid, struct fault *fault);

/* Where there is no descriptor to clone into: the cgroup.procs files (v1: tasks), the cgroup's own (do not close). A
 * clone that writes "0" to each joins by itself: the kernel checks who opened them (5.17 and later). Not done by the
 * supervisor, because a v1 attach of another after some idle time waits 10 ms and more for an RCU grace period. Returns
 * how many; `fds` has room for CGROUP_PROCS. */
enum { CGROUP_PROCS = 6 };
int cgroup_procs_fds(const struct cgroup *cgroup, int fds[CGROUP_PROCS]);

/* v1: an eventfd that becomes readable when the cgroup has run out of memory: the kernel kills one process then, where
 * v2 kills all (memory.oom.group). The cgroup's own (do not close). v2, or where it cannot be had: -1. */
int cgroup_oom_event(const struct cgroup *cgroup);

int cgroup_usage(struct cgroup *cgroup, struct cgroup_usage *usage, struct fault *fault);

/* Kills every process in it (v2 cgroup.kill; v1 by signal until empty). Returns 0 when it is empty, -1 when something
 * is still there after a bounded number of tries. */
int cgroup_kill(struct cgroup *cgroup, struct fault *fault);

#endif
