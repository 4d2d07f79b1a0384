/* A run, from the clone to its end: close the jail around itself, wait for a job, run it, report, exit.
 *
 * It believes the supervisor and the job, which come before any script. What it reports is believed by nobody: the
 * front checks the bytes, and the supervisor saw how the process ended. */
#ifndef SAFE_SCRIPT_CHILD_H
#define SAFE_SCRIPT_CHILD_H

#include "jail.h"
#include "wire.h"

/* WIRE_SPAWN's descriptors, in its order; cgroup files from SPAWN_CGROUP on. */
enum { SPAWN_CONTROL, SPAWN_REPORT, SPAWN_STDOUT, SPAWN_STDERR, SPAWN_CGROUP };

/* In the clone. `spawn` is the order that it was made by, with its descriptors; CHILD_SOCKET in the zygote's own place
 * (3) is closed. */
_Noreturn void child_run(const struct jail_plan *plan, struct wire_message *spawn);

#endif
