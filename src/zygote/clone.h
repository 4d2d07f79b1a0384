/* Cloning a warm interpreter by the raw system call, and what glibc's fork() would have done besides.
 *
 * The raw call is needed for CLONE_PARENT (a run is the supervisor's child, not ours), for new namespaces and for
 * CLONE_INTO_CGROUP. Nothing here touches Python; all of it belongs to the zygote's only thread. */
#ifndef SAFE_SCRIPT_CLONE_H
#define SAFE_SCRIPT_CLONE_H

#include "fault.h"

#include <stdint.h>
#include <sys/types.h>

/* Finds what a clone needs. Once, before the first clone. Returns 0 or -1 with *fault. */
int clone_prepare(struct fault *fault);

/* Refuses a process with more than one thread: a clone would have only one of them, and the locks of all. */
int clone_check_threads(size_t python_threads, struct fault *fault);

/* Clones as a child of our parent. `flags` are namespaces; `cgroup` is a v2 cgroup's descriptor or -1. Returns the pid
 * and fills *pidfd, 0 in the clone, or -1 with errno. */
pid_t clone_run(uint64_t flags, int cgroup, int *pidfd);

#endif
