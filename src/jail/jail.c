/* The jail: the table of layers and the four places that walk it (jail.h). Knows nothing of how a layer works; a
 * layer's file says what it trusts. Owns no state. */
#include "layers.h"

#include "scope.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

const struct layer layer_table[LAYER_COUNT] = {
    [LAYER_CGROUP] = {"memory with tmpfs and pipes, processes and CPU counted and limited; kill of the whole tree",
                      "rlimits, the supervisor's watchdog, threads only", cgroup_probe, NULL, NULL},
    [LAYER_NAMESPACES] = {"user, pid, mount and ipc namespaces of its own; empty net and uts namespaces",
                          "landlock, seccomp", namespaces_probe, namespaces_arm, namespaces_apply},
    [LAYER_ROOT] = {"a read-only minimal tree and a small tmpfs to work in; no /proc", "landlock, identity", root_probe,
                    NULL, NULL},
    [LAYER_IDENTITY] = {"a uid of its own, no capabilities, no_new_privs, not dumpable, its own session",
                        "landlock, seccomp", identity_probe, identity_arm, NULL},
    [LAYER_RLIMITS] = {"address space, CPU seconds, processes, files, file size, no core files", "cgroup, supervisor",
                       rlimits_probe, rlimits_arm, rlimits_apply},
    [LAYER_LANDLOCK] = {"files, TCP, signals and abstract sockets checked by the kernel once more", "root, namespaces",
                        landlock_probe, NULL, NULL},
    [LAYER_SECCOMP] = {"only listed system calls, with checked arguments, of this architecture",
                       "namespaces, landlock, identity", seccomp_probe, seccomp_arm, NULL},
    [LAYER_SUPERVISOR] = {"wall clock, output caps, the kill, and the only word on how a run ended", "rlimits",
                          supervisor_probe, NULL, NULL},
};

#define CGROUP     LAYER_BIT(LAYER_CGROUP)
#define NAMESPACES LAYER_BIT(LAYER_NAMESPACES)
#define ROOT       LAYER_BIT(LAYER_ROOT)
#define IDENTITY   LAYER_BIT(LAYER_IDENTITY)
#define RLIMITS    LAYER_BIT(LAYER_RLIMITS)
#define LANDLOCK   LAYER_BIT(LAYER_LANDLOCK)
#define SECCOMP    LAYER_BIT(LAYER_SECCOMP)
#define SUPERVISOR LAYER_BIT(LAYER_SUPERVISOR)

/* Classes whose walls are all in the front or the interpreter (values that are not JSON, the API) are not here. */
const struct attack_class attack_classes[] = {
    {"forged result or status", WALL_FACTS | WALL_FRONT,
     .one = "the supervisor alone sees how a run ended, the front alone checks what it said"},
    {"CPU", SUPERVISOR | RLIMITS | WALL_FRONT},
    {"time", SUPERVISOR | WALL_FRONT},
    {"memory", CGROUP | RLIMITS | SUPERVISOR | WALL_FORKS},
    {"memory in no address space", CGROUP | SECCOMP,
     .one = "without a cgroup nothing counts it; the filter lets none be made, or little"},
    {"processes", CGROUP | RLIMITS | SUPERVISOR | WALL_FORKS},
    {"processes that outlive their run", CGROUP | NAMESPACES | SUPERVISOR | WALL_FORKS},
    {"output", SUPERVISOR | WALL_FRONT},
    {"disk", ROOT | RLIMITS | SUPERVISOR},
    {"files without a name, or with holes", ROOT | RLIMITS,
     .one = "no look at a directory finds the one; the other takes no room until it is written"},
    {"descriptors", RLIMITS, .one = "nothing else counts them; their memory is in the cgroup's"},
    {"reading what is not the script's", ROOT | LANDLOCK | WALL_OWN_UID},
    {"names, sizes and times of files", ROOT, .one = "rule sets do not cover stat()", .or_none = true},
    {"writing what is not the script's", ROOT | LANDLOCK | WALL_OWN_UID},
    {"other processes", NAMESPACES | SECCOMP | LANDLOCK | WALL_OWN_UID},
    {"kernel surface", SECCOMP | IDENTITY},
    {"kernel interfaces that take no privilege", SECCOMP, .one = "the kernel gives them to everybody"},
    {"network", NAMESPACES | SECCOMP | LANDLOCK},
    {"network: all but TCP and abstract sockets", NAMESPACES | SECCOMP, .one = "rule sets do not cover them"},
    {"network: families of no namespace", SECCOMP, .one = "AF_VSOCK and AF_ALG are in no namespace"},
    {"run to run", NAMESPACES | SECCOMP | LANDLOCK},
    {"run to run: the shared network", SECCOMP | LANDLOCK,
     .one = "all runs of a zygote are in one empty network; rule sets do not cover UDP"},
    {"run to run: locks and watches", SECCOMP, .one = "the shown files are the same inodes in every run"},
};
const size_t attack_class_count = COUNT(attack_classes);

const struct attack_class *jail_weakest(uint32_t layers, unsigned walls)
{
    for (size_t i = 0; i < attack_class_count; i++) {
        const struct attack_class *class = &attack_classes[i];
        unsigned least = class->or_none ? 0 : class->one ? 1 : walls;
        if ((unsigned)__builtin_popcount(class->walls & layers) < least)
            return class;
    }
    return NULL;
}

/* ---- probing ---- */

struct trial {
    enum layer_id id;
    struct jail_plan plan;
    struct layer_report report;
};

static int probe_one(void *argument, struct fault *fault)
{
    struct trial *trial = argument; /* shared: the plan and the report come back */
    if (layer_table[trial->id].probe(&trial->plan, &trial->report) == 0)
        return 0;
    *fault = trial->report.fault;
    return -1;
}

static int try_supervision(pid_t pid, struct layer_report *report)
{
    struct itimerspec soon = {.it_value.tv_nsec = 1};
    uint64_t ticks = 0;
    siginfo_t ended;
    auto_fd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    auto_fd int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (pidfd < 0 || timer < 0)
        return fault_set(&report->fault, "supervisor", pidfd < 0 ? "pidfd_open" : "timerfd_create", errno, "a child");
    if (timerfd_settime(timer, 0, &soon, NULL) || read(timer, &ticks, sizeof ticks) != sizeof ticks)
        return fault_set(&report->fault, "supervisor", "timerfd", errno, "a tick");
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) || waitid(P_PIDFD, (id_t)pidfd, &ended, WEXITED) ||
        ended.si_status != SIGKILL)
        return fault_set(&report->fault, "supervisor", "pidfd_send_signal", errno, "SIGKILL to a child");
    snprintf(report->how, sizeof report->how, "timers, pidfds and wait status");
    return 0;
}

int supervisor_probe(struct jail_plan *plan, struct layer_report *report)
{
    (void)plan;
    pid_t pid = fork();
    if (pid < 0)
        return fault_set(&report->fault, "supervisor", "fork", errno, "a child");
    if (pid == 0)
        for (;;)
            pause();
    int result = try_supervision(pid, report);
    if (result && waitpid(pid, NULL, WNOHANG) == 0) { /* a probe leaves nothing behind, by older means if need be */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return result;
}

/* Only in a test build, which measures what the other layers hold (tests/escape). */
static bool is_left_out(const struct jail_plan *plan, uint32_t wall)
{
#ifdef SAFE_SCRIPT_ABLATION
    return plan->without & wall;
#else
    (void)plan, (void)wall;
    return false;
#endif
}

void jail_probe(struct jail_plan *plan, struct layer_report reports[LAYER_COUNT])
{
    /* Not the table's order: who runs as whom decides how namespaces can be had, and the root needs those. */
    static const enum layer_id order[] = {LAYER_CGROUP,  LAYER_IDENTITY, LAYER_NAMESPACES, LAYER_ROOT,
                                          LAYER_RLIMITS, LAYER_LANDLOCK, LAYER_SECCOMP,    LAYER_SUPERVISOR};
    plan->layers = (is_left_out(plan, WALL_FRONT) ? 0 : WALL_FRONT) | (is_left_out(plan, WALL_FACTS) ? 0 : WALL_FACTS);
    struct trial *trial = shared_memory(sizeof *trial);
    for (size_t i = 0; i < COUNT(order); i++) {
        enum layer_id id = order[i];
        struct layer_report *report = &reports[id];
        *report = (struct layer_report){0};
        if (!trial) {
            fault_set(&report->fault, layer_names[id], "mmap", ENOMEM, "shared memory");
            continue;
        }
        if (is_left_out(plan, LAYER_BIT(id))) {
            fault_set(&report->fault, layer_names[id], "probe", 0, "left out");
            continue;
        }
        *trial = (struct trial){.id = id, .plan = *plan};
        /* On cgroup v2 a server moves out of its own cgroup; a child that moved alone would leave it in the way. */
        report->holds = id == LAYER_CGROUP ? probe_one(trial, &report->fault) == 0
                                           : in_child(layer_names[id], probe_one, trial, &report->fault) == 0;
        if (!report->holds)
            continue;
        memcpy(report->how, trial->report.how, sizeof report->how);
        *plan = trial->plan;
        plan->layers |= LAYER_BIT(id);
        /* What a fork bomb needs to be stopped by number and killed as a whole; the filter depends on it. */
        plan->processes = (plan->layers & CGROUP) && (plan->layers & NAMESPACES) && (plan->namespaces & CLONE_NEWPID);
    }
    if ((plan->layers & IDENTITY) && plan->run_uid_count && !(plan->namespaces & CLONE_NEWUSER))
        identity_probe_own_ids(plan, &reports[LAYER_IDENTITY]);
    if ((plan->layers & SECCOMP) && !plan->processes)
        plan->layers |= WALL_FORKS;
    unshare_memory(trial, sizeof *trial);
}

/* ---- the zygote and the run ---- */

int jail_template(const struct jail_plan *plan, const struct jail_path *extra, size_t extra_count, struct fault *fault)
{
    bool namespaces = plan->layers & NAMESPACES, root = plan->layers & ROOT, identity = plan->layers & IDENTITY;
    /* In a user namespace of its own the zygote needs no privilege to start from, and its uid owns what it makes. */
    bool early = plan->template_namespaces & CLONE_NEWUSER;
    if (identity && early && identity_become_zygote(plan, fault))
        return -1;
    if (namespaces && namespaces_template(plan, fault))
        return -1;
    if (root && root_template(plan, extra, extra_count, fault))
        return -1;
    if (chdir("/"))
        return fault_set(fault, "root", "chdir", errno, "/");
    if (identity && !early && identity_become_zygote(plan, fault))
        return -1;
    if (identity && identity_template(plan, fault))
        return -1;
    /* Without it the kernel takes neither rule sets nor filters from the unprivileged. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fault_set(fault, "identity", "prctl", errno, "PR_SET_NO_NEW_PRIVS");
    return !root && (plan->layers & LANDLOCK) ? landlock_template(plan, extra, extra_count, fault) : 0;
}

int jail_arm(const struct jail_plan *plan, struct fault *fault)
{
    for (int id = 0; id < LAYER_COUNT; id++) {
        if ((plan->layers & LAYER_BIT(id)) && layer_table[id].arm && layer_table[id].arm(plan, fault))
            return -1;
    }
    return 0;
}

/* The layers that take or give more than the table's interface says. */
static int apply_one(const struct jail_plan *plan, int id, const struct jail_cell *cell, int *listener,
                     struct fault *fault)
{
    switch (id) {
    case LAYER_ROOT:
        return root_apply(plan, cell->disk_bytes, fault);
    case LAYER_IDENTITY:
        return identity_apply(plan, cell, fault);
    case LAYER_LANDLOCK:
        return landlock_apply(plan, cell, fault);
    case LAYER_SECCOMP:
        return seccomp_enter(plan, listener, fault);
    default:
        return layer_table[id].apply ? layer_table[id].apply(plan, fault) : 0;
    }
}

int jail_apply(const struct jail_plan *plan, const struct jail_cell *cell, int *listener, struct fault *fault)
{
    *listener = -1;
    for (int id = 0; id < LAYER_COUNT; id++) {
        if ((plan->layers & LAYER_BIT(id)) && apply_one(plan, id, cell, listener, fault))
            return -1;
        /* A box that is a directory is its uid's own: not before the run has that. */
        if (id == LAYER_IDENTITY && !(plan->layers & ROOT) && root_enter_box(cell, fault))
            return -1;
    }
    return 0;
}
