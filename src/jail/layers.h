/* Private to src/jail: what the layers' files give to jail.c's table, and the helpers that they share. */
#ifndef SAFE_SCRIPT_LAYERS_H
#define SAFE_SCRIPT_LAYERS_H

#include "jail.h"
#include "policy.h"

#include <stdbool.h>

/* One per layer; NULL in the table where a layer has no such step. */
int cgroup_probe(struct jail_plan *plan, struct layer_report *report);

int namespaces_probe(struct jail_plan *plan, struct layer_report *report);
int namespaces_arm(const struct jail_plan *plan, struct fault *fault);
int namespaces_apply(const struct jail_plan *plan, struct fault *fault);
/* The zygote's share: unshares plan->template_namespaces and leaves mounts private. */
int namespaces_template(const struct jail_plan *plan, struct fault *fault);

int root_probe(struct jail_plan *plan, struct layer_report *report);
int root_apply(const struct jail_plan *plan, uint64_t disk_bytes, struct fault *fault);
/* In place of root_apply(): into the box that the supervisor made. */
int root_enter_box(const struct jail_cell *cell, struct fault *fault);
int root_template(const struct jail_plan *plan, const struct jail_path *extra, size_t extra_count, struct fault *fault);

/* Each path that the root shows, the policy's and `extra`, once, shorter ones before what lies below them. */
struct root_item {
    const char *at, *source; /* of a mount */
    const char *link;        /* what a symbolic link at `at` says; NULL: a mount */
    bool device;
};
int root_items(const struct jail_path *extra, size_t extra_count, int (*each)(const struct root_item *item, void *with),
               void *with, struct fault *fault);
/* In a run whose root another made: whether it is what root_template() would have made. Mounts the run's tmpfs. */
int root_check(struct fault *fault);

/* In place of both probes above where a tool makes a run's namespaces (outer.c). */
int outer_probe(struct jail_plan *plan, struct layer_report *report);

/* Whether we have one of the first 32 capabilities. */
bool identity_may(int capability);
int identity_probe(struct jail_plan *plan, struct layer_report *report);
int identity_arm(const struct jail_plan *plan, struct fault *fault);
int identity_apply(const struct jail_plan *plan, const struct jail_cell *cell, struct fault *fault);
/* For places without user namespaces: whether runs can take uids of their own. Sets plan->run_sets_ids, or clears the
 * uids and WALL_OWN_UID, and words *report anew. */
void identity_probe_own_ids(struct jail_plan *plan, struct layer_report *report);
/* The zygote's uid alone, while capabilities are kept … */
int identity_become_zygote(const struct jail_plan *plan, struct fault *fault);
/* … and the end of all privilege. */
int identity_template(const struct jail_plan *plan, struct fault *fault);

int rlimits_probe(struct jail_plan *plan, struct layer_report *report);
int rlimits_arm(const struct jail_plan *plan, struct fault *fault);
int rlimits_apply(const struct jail_plan *plan, struct fault *fault);

int landlock_probe(struct jail_plan *plan, struct layer_report *report);
int landlock_apply(const struct jail_plan *plan, const struct jail_cell *cell, struct fault *fault);
/* In place of root_template(): the zygote may read the same paths, by their host names, and change what lies in
 * plan->boxes; each run only its own box there. */
int landlock_template(const struct jail_plan *plan, const struct jail_path *extra, size_t extra_count,
                      struct fault *fault);

/* The rules of this plan's filter, in the table's order, and what is to be done otherwise (filter.h); `rules` has room
 * for policy_call_count. Returns how many. Pure. */
struct filter_rule;
size_t seccomp_rules(const struct jail_plan *plan, struct filter_rule *rules, uint32_t *otherwise);

int seccomp_probe(struct jail_plan *plan, struct layer_report *report);
int seccomp_arm(const struct jail_plan *plan, struct fault *fault);
/* Loads the filter. *listener is the notification descriptor, or -1 where plan->denials is off. */
int seccomp_enter(const struct jail_plan *plan, int *listener, struct fault *fault);

int supervisor_probe(struct jail_plan *plan, struct layer_report *report);

/* ---- throw-away children (probe.c) ---- */

/* Runs body in a forked child that dies with its parent and after PROBE_SECONDS; returns what it returned, its *fault
 * included. `argument` is copied by the fork: results travel only in *fault and in memory from shared_memory(). */
enum { PROBE_SECONDS = 30 };
int in_child(const char *layer, int (*body)(void *argument, struct fault *fault), void *argument, struct fault *fault);

/* Zeroed memory that stays shared with forked children; NULL when there is none. unshare_memory() returns it. */
void *shared_memory(size_t size);
void unshare_memory(void *memory, size_t size);

/* The real sequence in throw-away processes: a child enters the template (with the root if with_root), it clones a run
 * with jail_clone_flags(), its ids are mapped, and the run enters the namespaces (and mounts its box). Then `check`
 * is called in the run. Returns what failed first. To be called inside in_child(). */
int rehearse(const struct jail_plan *plan, bool with_root, int (*check)(struct fault *fault), struct fault *fault);

/* Where the server itself was started in a chroot: goes up to the mount namespace's own root. The kernel pivots no
 * other, and refuses user namespaces to the chrooted. A chroot is no wall to one who may call chroot(2); the caller has
 * a mount namespace of its own and is about to lose both roots. */
int leave_chroot(struct fault *fault);

#endif
