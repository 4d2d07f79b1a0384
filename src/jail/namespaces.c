/* The namespaces layer: which namespaces the zygote gets once and each run anew, and who writes a run's id maps.
 *
 * Once, in the template: mount, net, uts, ipc; empty, and nothing can be made in the last three through the system
 * calls that a run has. Each run: user, pid, mount, ipc. A run is created by an unprivileged zygote, so it needs a user
 * namespace of its own to be allowed the others; what it gains in there (all capabilities over its own namespaces,
 * until identity_apply() drops them) it can use on nothing but its own mounts.
 *
 * The maps (user_namespaces(7): the writer must be in the run's user namespace or that one's parent, the map_write() of
 * the kernel looks at who *opened* the file):
 *   - server as root: the zygote is in the supervisor's own user namespace, which so is the run's parent. The
 *     supervisor has CAP_SETUID there and gives each run a kernel uid of its own.
 *   - ordinary user: the zygote sits in a user namespace U1 (it could not have built the root otherwise), the run in a
 *     child U2 of it. The supervisor is in neither, so it may not write. The run may: one line that maps the uid of the
 *     namespace's creator, with setgroups denied. It needs a procfs for that and the template has none; so the template
 *     leaves the zygote one descriptor, O_PATH, of the host's /proc (JAIL_PROC_FD). Only "self" and "sys/user" are ever
 *     looked up through it, and the run closes it right after, before identity, landlock and seccomp, and long before a
 *     script. Leaving out CLONE_NEWUSER instead would mean a zygote with CAP_SYS_ADMIN, and runs that share its user
 *     namespace.
 *
 * A user namespace inside a run's would give all capabilities again, and with them the kernel's widest surface, if the
 * system-call filter ever let one be made. The kernel makes none for whose effective group has no mapping in the
 * namespace that he is in (user_namespaces(7)). So where the supervisor has given the run's ids, its files have the
 * mapped group (setfsgid(2)), and its effective one stays the zygote's: no call changes that without a capability. Who
 * maps itself can map no group but that one; so such a run sets its namespace's limit on nested ones to none (sysctl
 * user.max_user_namespaces is per namespace, namespaces(7)), where /proc/sys can be written. That is not for all: the
 * file is looked up among those of the same name, one for each run that lives. */
#include "layers.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define LAYER "namespaces"

enum { RUN_FULL = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC };

/* The zygote's ids in its own user namespace, which a run must name when it maps itself; in the clone they read as
 * 65534 until it has. */
static uid_t zygote_uid;
static gid_t zygote_gid;

static int write_at(int directory, const char *path, const char *text, struct fault *fault)
{
    auto_fd int fd = openat(directory, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fault_set(fault, LAYER, "open", errno, "%s", path);
    if (write(fd, text, strlen(text)) < 0)
        return fault_set(fault, LAYER, "write", errno, "%s to %s", text, path);
    return 0;
}

/* Maps RUN_UID in the caller's new user namespace to these ids of the parent one. */
static int map_self(int proc, uid_t uid, gid_t gid, struct fault *fault)
{
    char uids[48], gids[48];
    snprintf(uids, sizeof uids, "%d %u 1", RUN_UID, uid);
    snprintf(gids, sizeof gids, "%d %u 1", RUN_UID, gid);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* else root owns our files in /proc */
    if (write_at(proc, "self/setgroups", "deny", fault) || write_at(proc, "self/gid_map", gids, fault) ||
        write_at(proc, "self/uid_map", uids, fault))
        return -1;
    return 0;
}

int jail_map_ids(pid_t pid, int pidfd, uid_t uid, struct fault *fault)
{
    char path[48], line[48];
    int length = snprintf(line, sizeof line, "%d %u 1", RUN_UID, uid);
    snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
    auto_fd int gids = open(path, O_WRONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
    auto_fd int uids = open(path, O_WRONLY | O_CLOEXEC);
    if (gids < 0 || uids < 0)
        return fault_set(fault, LAYER, "open", errno, "%s", path);
    /* An open map is its user namespace's, whatever becomes of the number; and the number was nobody else's when it was
     * opened if its owner still lives. */
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    if (poll(&ended, 1, 0) != 0)
        return fault_set(fault, LAYER, "poll", ESRCH, "%d", pid);
    if (write(gids, line, (size_t)length) < 0 || write(uids, line, (size_t)length) < 0)
        return fault_set(fault, LAYER, "write", errno, "%s to the id maps of %d", line, pid);
    return 0;
}

uint64_t jail_clone_flags(const struct jail_plan *plan)
{
    return plan->layers & LAYER_BIT(LAYER_NAMESPACES) ? plan->namespaces : 0;
}

int leave_chroot(struct fault *fault)
{
    struct stat here, above;
    auto_fd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || chroot("/usr") || fchdir(root)) /* the working directory is outside the root now: ".." goes on */
        return fault_set(fault, LAYER, "chroot", errno, "/usr");
    do {
        if (stat(".", &here) || chdir("..") || stat(".", &above))
            return fault_set(fault, LAYER, "chdir", errno, "..");
    } while (here.st_dev != above.st_dev || here.st_ino != above.st_ino);
    return chroot(".") ? fault_set(fault, LAYER, "chroot", errno, ".") : 0;
}

/* No mount of ours goes to the host, and none of the host's comes to us. In a chroot / is no mount, so the real root is
 * visited for it. */
static int make_private(struct fault *fault)
{
    auto_fd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        return 0;
    if (errno != EINVAL || root < 0)
        return fault_set(fault, LAYER, "mount", errno, "/ as private");
    if (leave_chroot(fault))
        return -1;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || fchdir(root) || chroot("."))
        return fault_set(fault, LAYER, "mount", errno, "/ as private, from a chroot");
    return 0;
}

int namespaces_template(const struct jail_plan *plan, struct fault *fault)
{
    uint32_t flags = plan->template_namespaces;
    uid_t uid = geteuid();
    gid_t gid = getegid();
    auto_fd int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return fault_set(fault, LAYER, "open", errno, "/proc");
    if (unshare((int)flags))
        return fault_set(fault, LAYER, "unshare", errno, "template namespaces 0x%x", flags);
    if ((flags & CLONE_NEWUSER) && map_self(proc, uid, gid, fault))
        return -1;
    if ((flags & CLONE_NEWNS) && make_private(fault))
        return -1;
    if ((flags & CLONE_NEWUTS) && (sethostname("jail", 4) || setdomainname("jail", 4)))
        return fault_set(fault, LAYER, "sethostname", errno, "jail");
    if (!(plan->namespaces & CLONE_NEWUSER))
        return 0;
    if (proc == JAIL_PROC_FD) {
        take_fd(&proc);
        fcntl(JAIL_PROC_FD, F_SETFD, 0);
        return 0;
    }
    return dup2(proc, JAIL_PROC_FD) < 0 ? fault_set(fault, LAYER, "dup2", errno, "/proc") : 0;
}

int namespaces_arm(const struct jail_plan *plan, struct fault *fault)
{
    zygote_uid = geteuid();
    zygote_gid = getegid();
    if (((plan->namespaces & CLONE_NEWUSER) || plan->engine) && fcntl(JAIL_PROC_FD, F_SETFD, FD_CLOEXEC))
        return fault_set(fault, LAYER, "fcntl", errno, "descriptor of /proc");
    return 0;
}

/* setfsgid(2) has no error to return; it says what was before. */
static int set_group(const struct jail_plan *plan)
{
    if (!plan->supervisor_maps)
        return (int)syscall(SYS_setresgid, RUN_UID, RUN_UID, RUN_UID);
    syscall(SYS_setfsgid, RUN_UID);
    return syscall(SYS_setfsgid, -1) == RUN_UID ? 0 : -1;
}

int namespaces_apply(const struct jail_plan *plan, struct fault *fault)
{
    bool own = plan->namespaces & CLONE_NEWUSER;
    if (!own && !plan->engine)
        return 0;
    if (own && !plan->supervisor_maps && map_self(JAIL_PROC_FD, zygote_uid, zygote_gid, fault))
        return -1;
    if (plan->nesting_stopped && !plan->supervisor_maps &&
        write_at(JAIL_PROC_FD, "sys/user/max_user_namespaces", "0", fault))
        return -1;
    close(JAIL_PROC_FD);
    /* Now, because files can only be made by ids that exist in the file system's user namespace (EOVERFLOW). It keeps
     * the capabilities: the kernel takes them from a change away from uid 0 only. Raw calls: glibc's would signal
     * threads that it remembers from the zygote. */
    if (own && (set_group(plan) || syscall(SYS_setresuid, RUN_UID, RUN_UID, RUN_UID)))
        return fault_set(fault, LAYER, "setresuid", errno, "%d in the new user namespace", RUN_UID);
    return 0;
}

static int check_run(struct fault *fault)
{
    if (getpid() != 1)
        return fault_set(fault, LAYER, "getpid", 0, "no new pid namespace");
    if (mount("tmpfs", "/", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k"))
        return fault_set(fault, LAYER, "mount", errno, "tmpfs in the new mount namespace");
    return 0;
}

static int check_nesting(struct fault *fault)
{
    if (unshare(CLONE_NEWUSER) == 0 || (errno != ENOSPC && errno != EPERM))
        return fault_set(fault, LAYER, "unshare", 0, "a nested user namespace");
    return 0;
}

static int rehearse_plan(void *plan, struct fault *fault)
{
    struct fault with_root;
    /* In a chroot they can be had only once the root layer has left it. */
    return rehearse(plan, false, check_run, fault) && rehearse(plan, true, check_run, &with_root) ? -1 : 0;
}

static int rehearse_nesting(void *plan, struct fault *fault)
{
    struct fault with_root;
    return rehearse(plan, false, check_nesting, fault) && rehearse(plan, true, check_nesting, &with_root) ? -1 : 0;
}

/* The ways to have them, the strongest first. */
static const struct {
    bool as_root;
    uint32_t template, run;
    bool supervisor_maps;
} ways[] = {
    {true, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC, RUN_FULL, true},
    {true, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC, RUN_FULL, false},
    {true, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS, RUN_FULL & ~CLONE_NEWIPC, true},
    {false, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC, RUN_FULL, false},
    {false, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS, RUN_FULL & ~CLONE_NEWIPC, false},
};

int namespaces_probe(struct jail_plan *plan, struct layer_report *report)
{
    bool root = geteuid() == 0 || identity_may(CAP_SYS_ADMIN), own_uids = plan->run_uid_count > 0;
    int tried = 0;
    if (plan->engine)
        return outer_probe(plan, report);
    for (size_t i = 0; i < COUNT(ways); i++) {
        struct fault fault;
        struct jail_plan attempt = *plan;
        if ((ways[i].as_root && !root) || (ways[i].supervisor_maps && !own_uids))
            continue;
        attempt.template_namespaces = ways[i].template;
        attempt.namespaces = ways[i].run;
        attempt.supervisor_maps = ways[i].supervisor_maps;
        if (in_child(LAYER, rehearse_plan, &attempt, &fault) == 0) {
            *plan = attempt;
            attempt.nesting_stopped = true;
            plan->nesting_stopped = in_child(LAYER, rehearse_nesting, &attempt, &fault) == 0;
            snprintf(report->how, sizeof report->how,
                     "user pid mount%s new, net uts inherited empty; mapped by the %s%s",
                     ways[i].run & CLONE_NEWIPC ? " ipc" : "", ways[i].supervisor_maps ? "supervisor" : "run",
                     plan->nesting_stopped ? "; no nested ones" : "; nested ones need seccomp");
            return 0;
        }
        if (tried++ == 0)
            report->fault = fault;
    }
    plan->namespaces = plan->template_namespaces = 0;
    plan->supervisor_maps = false;
    return -1;
}
