/* The identity layer: who the zygote and the runs are to the kernel, and the end of every privilege.
 *
 * Server as root, or with root's power over ids (CAP_SETUID, CAP_SETGID, as the image's file has them): the zygote has
 * a kernel uid of its own, each run another one of its own (jail_map_ids()), from a range that nobody uses; file
 * permissions are then a wall (WALL_OWN_UID). Ordinary user: all are that user to the kernel, and supplementary groups
 * stay (setgroups(2) is denied in its user namespaces); the rest holds all the same: no capabilities in any set, none
 * to be had by execve, not dumpable (so no ptrace, no core file), a session of its own. */
#include "layers.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define LAYER "identity"

/* Ranges for the zygote (first id), the front (last id) and the runs (the rest), the best first: far from people,
 * systemd's dynamic users and the usual subordinate ranges; then below "nobody" where only 65,536 ids are mapped; then
 * one id for all. */
static const struct {
    uint32_t base, count;
} ranges[] = {{0x70000000, 8195}, {57344, 8190}, {60000, 2}, {65534, 1}};

enum {
    SECUREBITS = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                 SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
};

/* KEY_POS_VIEW | KEY_POS_SEARCH of the kernel's linux/key.h. */
enum { KEYRING_TO_LOOK_AT = 0x09000000 };

static int last_capability = CAP_LAST_CAP;

static void find_last_capability(void)
{
    last_capability = -1;
    while (prctl(PR_CAPBSET_READ, last_capability + 1, 0, 0, 0) >= 0)
        last_capability++;
}

/* What gives capabilities back: the bounding and ambient sets, and uid 0's magic. */
static int bar_capabilities(struct fault *fault)
{
    for (int capability = 0; capability <= last_capability; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
            return fault_set(fault, LAYER, "prctl", errno, "PR_CAPBSET_DROP %d", capability);
    }
    if (prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0))
        return fault_set(fault, LAYER, "prctl", errno, "PR_SET_SECUREBITS");
    return 0;
}

/* All but those of the first word that are kept; the ambient set follows by itself. */
static int drop_capabilities(uint32_t kept, struct fault *fault)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct left[2] = {{.effective = kept, .permitted = kept, .inheritable = kept}, {0}};
    if (syscall(SYS_capset, &header, left))
        return fault_set(fault, LAYER, "capset", errno, "0x%" PRIx32, kept);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fault_set(fault, LAYER, "prctl", errno, "PR_SET_NO_NEW_PRIVS");
    return 0;
}

bool identity_may(int capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[2] = {{0}, {0}};
    return syscall(SYS_capget, &header, have) == 0 && (have[0].effective & (1u << capability));
}

static bool may_bar(void)
{
    return identity_may(CAP_SETPCAP);
}

/* What a zygote keeps whose runs take their uids themselves, through its execve: the ambient set, which is closed (and
 * with it the way back) by bar_capabilities(). */
static int keep_set_ids(struct fault *fault)
{
    static const int kept[] = {CAP_SETUID, CAP_SETGID};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[2] = {{0}, {0}};
    if (syscall(SYS_capget, &header, have))
        return fault_set(fault, LAYER, "capget", errno, "own");
    for (size_t i = 0; i < COUNT(kept); i++)
        have[0].inheritable |= 1u << kept[i];
    if (syscall(SYS_capset, &header, have))
        return fault_set(fault, LAYER, "capset", errno, "CAP_SETUID, CAP_SETGID inheritable");
    for (size_t i = 0; i < COUNT(kept); i++) {
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept[i], 0, 0))
            return fault_set(fault, LAYER, "prctl", errno, "PR_CAP_AMBIENT_RAISE %d", kept[i]);
    }
    return 0;
}

int identity_become_zygote(const struct jail_plan *plan, struct fault *fault)
{
    if (!plan->zygote_uid)
        return 0;
    if (plan->run_sets_ids && keep_set_ids(fault))
        return -1;
    /* The bounding set and securebits want CAP_SETPCAP, which goes with uid 0. */
    find_last_capability();
    if (may_bar() && bar_capabilities(fault))
        return -1;
    if (setgroups(0, NULL))
        return fault_set(fault, LAYER, "setgroups", errno, "none");
    if (setresgid(plan->zygote_uid, plan->zygote_uid, plan->zygote_uid) ||
        setresuid(plan->zygote_uid, plan->zygote_uid, plan->zygote_uid))
        return fault_set(fault, LAYER, "setresuid", errno, "%" PRIu32, plan->zygote_uid);
    return 0;
}

int identity_template(const struct jail_plan *plan, struct fault *fault)
{
    find_last_capability();
    if (may_bar() && bar_capabilities(fault))
        return -1;
    /* The session keyring may be a login's. Runs inherit this empty one, which nobody can write. Refused in containers,
     * whose profiles refuse all of keyctl(): then it is none's. */
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0)
        (void)syscall(SYS_keyctl, KEYCTL_SETPERM, KEY_SPEC_SESSION_KEYRING, KEYRING_TO_LOOK_AT);
    return drop_capabilities(plan->run_sets_ids ? 1u << CAP_SETUID | 1u << CAP_SETGID : 0, fault);
}

int identity_arm(const struct jail_plan *plan, struct fault *fault)
{
    (void)plan;
    find_last_capability();
    /* Of one uid with the runs where there is no range for them. Only execve makes it dumpable again. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        return fault_set(fault, LAYER, "prctl", errno, "PR_SET_DUMPABLE");
    return 0;
}

int identity_apply(const struct jail_plan *plan, const struct jail_cell *cell, struct fault *fault)
{
    /* Raw calls: glibc's would signal threads that it remembers from the zygote. */
    if (plan->run_sets_ids && (syscall(SYS_setresgid, cell->uid, cell->uid, cell->uid) ||
                               syscall(SYS_setresuid, cell->uid, cell->uid, cell->uid)))
        return fault_set(fault, LAYER, "setresuid", errno, "%" PRIu32, cell->uid);
    /* Only a new user namespace has given any, ours or a tool's; the zygote had none. */
    if (((plan->namespaces & CLONE_NEWUSER) || (plan->engine && may_bar())) && bar_capabilities(fault))
        return -1;
    if (drop_capabilities(0, fault))
        return -1;
    if (setsid() < 0)
        return fault_set(fault, LAYER, "setsid", errno, "a new session");
    /* After the last change of credentials, which would undo both (prctl(2)). */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
        return fault_set(fault, LAYER, "prctl", errno, "PR_SET_DUMPABLE, PR_SET_PDEATHSIG");
    return 0;
}

/* Whether one line of an id map ("inside outside count") holds the whole range. */
static bool is_mapped(const char *map, uint32_t base, uint32_t count)
{
    FILE *lines = fopen(map, "re");
    uint32_t inside, outside, length;
    bool found = false;
    while (lines && !found && fscanf(lines, "%" SCNu32 " %" SCNu32 " %" SCNu32, &inside, &outside, &length) == 3)
        found = base >= inside && base - inside < length && count <= length - (base - inside);
    if (lines)
        fclose(lines);
    return found;
}

static int check(void *plan, struct fault *fault)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[2] = {{0}, {0}};
    const struct jail_plan *wanted = plan;
    if (identity_become_zygote(plan, fault) || identity_template(wanted, fault))
        return -1;
    if (syscall(SYS_capget, &header, have) ||
        have[0].effective | have[0].permitted | have[1].effective | have[1].permitted)
        return fault_set(fault, LAYER, "capget", 0, "capabilities are left");
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return fault_set(fault, LAYER, "prctl", 0, "PR_GET_NO_NEW_PRIVS");
    if (wanted->zygote_uid && (setresuid(0, 0, 0) == 0 || geteuid() != wanted->zygote_uid))
        return fault_set(fault, LAYER, "setresuid", 0, "uid 0 came back");
    return 0;
}

static void word_uids(const struct jail_plan *plan, struct layer_report *report)
{
    snprintf(report->how, sizeof report->how,
             "uids from %" PRIu32 ", no capabilities, no_new_privs, not dumpable, own session", plan->zygote_uid);
}

int identity_probe(struct jail_plan *plan, struct layer_report *report)
{
    if (geteuid() != 0 && !(identity_may(CAP_SETUID) && identity_may(CAP_SETGID))) {
        plan->zygote_uid = plan->run_uid_count = 0;
        if (in_child(LAYER, check, plan, &report->fault))
            return -1;
        snprintf(report->how, sizeof report->how,
                 "no capabilities, no_new_privs, not dumpable, own session; uid %u of the server", geteuid());
        return 0;
    }
    fault_set(&report->fault, LAYER, "setresuid", EPERM, "no ids are mapped here that runs could have");
    for (size_t i = 0; i < COUNT(ranges); i++) {
        if (!is_mapped("/proc/self/uid_map", ranges[i].base, ranges[i].count) ||
            !is_mapped("/proc/self/gid_map", ranges[i].base, ranges[i].count))
            continue;
        plan->zygote_uid = ranges[i].base;
        plan->run_uid_base = ranges[i].base + 1;
        plan->run_uid_count = ranges[i].count > 3 ? ranges[i].count - 3 : 0;
        plan->tls_uid = ranges[i].base + ranges[i].count - 1;
        plan->front_uid = ranges[i].count > 2 ? plan->tls_uid - 1 : plan->tls_uid;
        if (in_child(LAYER, check, plan, &report->fault))
            continue;
        plan->layers |= WALL_OWN_UID;
        word_uids(plan, report);
        return 0;
    }
    plan->zygote_uid = plan->front_uid = plan->tls_uid = plan->run_uid_base = plan->run_uid_count = 0;
    return -1;
}

/* A child goes the way of a zygote and a run, and the server must still be able to end it. */
static int check_own_ids(void *plan, struct fault *fault)
{
    const struct jail_plan *wanted = plan;
    const struct jail_cell cell = {.uid = wanted->run_uid_base, .box = -1};
    char byte;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return fault_set(fault, LAYER, "pipe2", errno, "a run");
    pid_t pid = fork();
    if (pid == 0) {
        struct fault unseen;
        bool done = identity_become_zygote(wanted, &unseen) == 0 && identity_template(wanted, &unseen) == 0 &&
                    identity_apply(wanted, &cell, &unseen) == 0 && geteuid() == cell.uid && getegid() == cell.uid &&
                    setresuid(wanted->zygote_uid, (uid_t)-1, (uid_t)-1) != 0;
        if (!done || write(ends[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ends[1]);
    bool became = pid > 0 && read(ends[0], &byte, 1) == 1;
    close(ends[0]);
    if (!became)
        return fault_set(fault, LAYER, "setresuid", EPERM, "a uid for each run");
    return kill(pid, SIGKILL) ? fault_set(fault, LAYER, "kill", errno, "a process of another uid") : 0;
}

void identity_probe_own_ids(struct jail_plan *plan, struct layer_report *report)
{
    struct fault fault;
    plan->run_sets_ids = true;
    if (in_child(LAYER, check_own_ids, plan, &fault) == 0) {
        word_uids(plan, report);
        return;
    }
    /* All share the zygote's, which still is not the server's. */
    plan->run_sets_ids = false;
    plan->run_uid_base = plan->run_uid_count = 0;
    snprintf(report->how, sizeof report->how,
             "uid %" PRIu32 " for all runs, no capabilities, no_new_privs, not dumpable, own session",
             plan->zygote_uid);
}
