/* The jail: one table of layers, applied in its order; one row, one small file, one interface.
 *
 * Four places use it:
 *   - the supervisor, once: jail_probe() tries every layer in throw-away children and fills the plan;
 *   - the zygote's process before it becomes Python: jail_template() gives it the minimal read-only root, the empty net
 *     and uts namespaces and its own uid, so that each clone inherits them for nothing;
 *   - the zygote, once: jail_arm() (compiles the system-call filter); per run jail_clone_flags();
 *   - the cloned run: jail_apply(), before any byte of a script's has reached it.
 * The supervisor's own part for each run is in cgroup.h (cgroups) and here (jail_map_ids).
 *
 * A layer that does not hold is absent from plan->layers and is not tried again later; a layer that is in plan->layers
 * and fails in a run makes that run's jail fail, never weaker. */
#ifndef SAFE_SCRIPT_JAIL_H
#define SAFE_SCRIPT_JAIL_H

#include "fault.h"
#include "limit.h"
#include "run.h"

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum layer_id {
    LAYER_CGROUP,
    LAYER_NAMESPACES,
    LAYER_ROOT,
    LAYER_IDENTITY,
    LAYER_RLIMITS,
    LAYER_LANDLOCK,
    LAYER_SECCOMP,
    LAYER_SUPERVISOR,
    LAYER_COUNT
};

#define LAYER_BIT(id) (UINT32_C(1) << (id))

/* Not a layer, but it stands among them in plan->layers: the runs' kernel uid is not the server's, so that file
 * permissions are a wall. Set by the identity probe where it is so. */
#define WALL_OWN_UID (UINT32_C(1) << 31)

/* Nor is this one: the front's strict check of reports, its caps and its own deadline for each run, outside the jail
 * and apart from the supervisor. It is everywhere. */
#define WALL_FRONT (UINT32_C(1) << 30)

/* And this: what the supervisor saw itself of a run's end (wait status, its own kill, the cgroup's counters), whatever
 * the report says. */
#define WALL_FACTS (UINT32_C(1) << 29)

/* The filter where it lets no process be made, because nothing would count and end them as one (jail_plan.processes).
 */
#define WALL_FORKS (UINT32_C(1) << 28)

/* Who makes the namespaces and the root of each run: our own clone, or a jail that people already trust, which is
 * started around it (outer.h). */
enum jail_engine { ENGINE_CLONE, ENGINE_BUBBLEWRAP, ENGINE_NSJAIL, ENGINE_COUNT };
extern const char *const engine_names[ENGINE_COUNT + 1]; /* NULL at the end */

/* The template leaves the zygote an O_PATH descriptor of the host's /proc at this number where runs get a user
 * namespace: unless plan->supervisor_maps they map their own ids by it and forbid nested ones. The run closes it in
 * jail_apply(). Whoever calls jail_template() has nothing at this number that it still needs. */
enum { JAIL_PROC_FD = 4 };

/* Where the root layer does not hold, the template leaves the zygote O_PATH descriptors of the shown paths, from this
 * number on without a gap: each run's own rule set is made of them (landlock.c). The run closes them in the end. */
enum { JAIL_SHOWN_FD = 100, JAIL_SHOWN_MOST = 100 };

/* What holds here and how it is to be used. Plain data: it goes to the zygote as WIRE_PLAN. */
struct jail_plan {
    uint32_t layers;              /* set of LAYER_BIT and WALL_… */
    uint32_t namespaces;          /* CLONE_NEW… bits that each run gets anew */
    uint32_t template_namespaces; /* CLONE_NEW… bits that the zygote gets once and runs inherit, empty */
    uint32_t landlock_abi;
    uint32_t engine;      /* enum jail_engine */
    bool supervisor_maps; /* the supervisor (CAP_SETUID) maps each run to a kernel uid of its own; else the run maps
                             itself to the zygote's uid */
    bool run_sets_ids;    /* no user namespaces, but CAP_SETUID: the run takes its own kernel uid; the zygote keeps that
                             capability for it */
    bool nesting_stopped; /* no user namespace can be made in a run's: it could give capabilities back */
    bool processes;       /* fork is allowed (pid namespace and a counting cgroup hold); else threads only */
    bool denials;         /* seccomp user notification works: denied calls are counted and explained */
    uint32_t zygote_uid;  /* kernel uid and gid that the zygote runs as; 0: it keeps the supervisor's (not root) */
    uint32_t front_uid, tls_uid;          /* of the front and the TLS process, likewise */
    uint32_t run_uid_base, run_uid_count; /* kernel uids for runs, when supervisor_maps or
                                             run_sets_ids */
    char boxes[128];      /* directory of the runs' boxes (box.h) where the root layer does not hold; else empty */
    struct limits limits; /* the server's */
#ifdef SAFE_SCRIPT_ABLATION
    uint32_t without;     /* as `layers`: what is left out, to measure the rest (tests/escape) */
    uint32_t without_row; /* 1 + index of the row of policy_calls that is left out; 0: none */
#endif
};

/* What the probe of one layer found, for people. */
struct layer_report {
    bool holds;
    char how[120];      /* "v1: memory, pids, cpuacct", "pid mount ipc user new; net uts inherited empty", "ABI 7" */
    struct fault fault; /* when it does not hold: what refused */
};

struct layer {
    const char *gives;      /* what it gives, for people */
    const char *takes_over; /* what takes over where it is missing */
    /* Tries the layer for real; called in a throw-away forked child (jail_probe does that), may refine *plan. Returns 0
     * and words report->how, or -1 with report->fault. */
    int (*probe)(struct jail_plan *plan, struct layer_report *report);
    int (*arm)(const struct jail_plan *plan, struct fault *fault);   /* in the zygote, once; NULL: nothing to do */
    int (*apply)(const struct jail_plan *plan, struct fault *fault); /* in the run; NULL: nothing to do there */
};

extern const struct layer layer_table[LAYER_COUNT];

/* As logs, /v1/jail and messages have them; apart from the table, so that the front links words and no jail. */
extern const char *const layer_names[LAYER_COUNT];
/* "front", "facts", "uid" or "forks"; NULL for what is none. */
const char *jail_wall_name(uint32_t wall);

/* A system call's name: "socket", or "system call 999". Returns text. */
char *jail_call_name(int number, char *text, size_t size);

/* The classes of attack of the threat model and the layers that each on its own stops that class. */
struct attack_class {
    const char *name;
    uint32_t walls;  /* set of LAYER_BIT and WALL_… */
    const char *one; /* why one wall is all that can be had in some places, or anywhere: not held against a place */
    bool or_none;    /* nor is it that there is none */
};
extern const struct attack_class attack_classes[];
extern const size_t attack_class_count;

/* Probes every layer and fills *plan and reports[LAYER_COUNT]. *plan is zero but for its limits and its engine (and, in
 * a test build, what is to be left out). Leaves nothing behind. Blocks for some milliseconds. */
void jail_probe(struct jail_plan *plan, struct layer_report reports[LAYER_COUNT]);

/* The first class that has fewer than `walls` walls among `layers`, or NULL when all have. One is enough where more
 * cannot be had (attack_class.one), or none (attack_class.or_none). */
const struct attack_class *jail_weakest(uint32_t layers, unsigned walls);

/* A path of the host that the jail shows, read-only, at the same place (or at `at` when not NULL). Symbolic
 * links on the way are shown as links. Missing optional ones are skipped. */
struct jail_path {
    const char *host;
    const char *at;
    bool optional;
    bool data; /* noexec: nothing in it is a program or a shared library */
};

/* Only in a forked child of the supervisor that will exec the zygote: enters the template (namespaces, read-only root
 * made of the policy's paths plus `extra`, working directory /, the zygote's uid, no capabilities, no_new_privs). Where
 * LAYER_ROOT or LAYER_NAMESPACES is not in the plan that part is left out. Returns 0 or -1 with *fault. */
int jail_template(const struct jail_plan *plan, const struct jail_path *extra, size_t extra_count, struct fault *fault);

/* In the zygote, once, before the first clone. */
int jail_arm(const struct jail_plan *plan, struct fault *fault);

/* Where no cgroup counts, RLIMIT_AS does, and it counts what thread stacks reserve: so threads get smaller ones there
 * (from the soft RLIMIT_STACK that the zygote is exec'ed with; the first thread's own is the policy's again in the
 * run). */
#define JAIL_THREAD_STACK (UINT64_C(2) << 20)

/* clone3() flags for a run. */
uint64_t jail_clone_flags(const struct jail_plan *plan);

/* In the starter, between clone and WIRE_ENTER: writes uid_map and gid_map of pid so that the run's RUN_UID is kernel
 * uid/gid `uid`. Nothing is written where pid is not (any more) what pidfd names. Only where plan->supervisor_maps. */
int jail_map_ids(pid_t pid, int pidfd, uid_t uid, struct fault *fault);

/* What one run's jail has of its own. */
struct jail_cell {
    uint64_t disk_bytes; /* size of the tmpfs */
    uint32_t uid;        /* kernel uid, where plan->run_sets_ids */
    int box;             /* its box (box.h) where the root layer does not hold, else -1; the caller's to close */
};

/* In the run, after WIRE_ENTER: applies every layer of the plan, in order. On success the process is without
 * capabilities, in its box's working directory (RUN_WORK where the root layer holds), filtered; *listener is the
 * seccomp listener (caller sends it to the supervisor and closes it) or -1. Allocates nothing. Returns 0 or -1 with
 * *fault. */
int jail_apply(const struct jail_plan *plan, const struct jail_cell *cell, int *listener, struct fault *fault);

/* In the run, after its listener has been sent: the limit of open files. Not earlier, because it also bounds the
 * descriptors in flight of a kernel uid (unix(7), ETOOMANYREFS): where runs share one, a run that holds many in flight
 * would else keep the others from sending theirs. */
int jail_limit_files(const struct jail_plan *plan, struct fault *fault);

/* In the run, after WIRE_START: lowers the rlimits to a request's own limits. Works after jail_apply(). */
int jail_lower(const struct jail_plan *plan, const struct limits *limits, struct fault *fault);

/* What the filter passes to the supervisor by user notification (plan->denials). Both are pure and read only the call's
 * number and its arguments as numbers.
 *
 * jail_is_signal_question(): true for kill() and tgkill() (verb ASK): not a denial. The script is PID 1 of its pid
 * namespace, so the kernel would drop what it sends itself; the supervisor lets the call go on or kills from outside.
 *
 * jail_denial_error(): the errno (positive) to answer any other notified call with: its row's, ENOSYS where it has
 * none. *detail receives the argument that the row names for struct denial, or 0. */
bool jail_is_signal_question(const struct seccomp_data *data);

/* True for a call that has a constant answer (verb ANSWER): not a denial. */
bool jail_answer(const struct seccomp_data *data, int64_t *value);

/* True for the last word of a run's own code (verb END): not a denial. *status is what it would exit with. */
bool jail_is_end(const struct seccomp_data *data, int *status);

/* In the run: says that word, where somebody listens (plan->denials) and no tool stands
 * between (plan->engine). Returns where nobody ends it. */
void jail_end(const struct jail_plan *plan, int status);

int jail_denial_error(const struct seccomp_data *data, uint32_t *detail);

/* Wording of one denial for people: "socket(AF_INET)" and "the network is off in this jail". Both are written into the
 * buffers and always terminated. Pure. */
void jail_denial_text(const struct denial *denial, const struct jail_plan *plan, char *what, size_t what_size,
                      char *hint, size_t hint_size);

/* The policy in force, for people, on `safe-script policy`: mounts, readable paths, system calls with their argument
 * checks and reasons, rlimits. Writes to stdout. */
void jail_print_policy(const struct jail_plan *plan);

#endif
