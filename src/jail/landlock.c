/* The landlock layer: the kernel's own check of every file, TCP port, signal and abstract socket that a run reaches
 * for, independent of mounts, uids and namespaces. Allowed: to read what the jail's root shows, to change files in the
 * run's own box, to write to /dev. No execute anywhere, no device ioctl, no socket, pipe, node or link to be made.
 * Rights that this kernel does not know are left out (the ABI is probed); the other layers hold there.
 *
 * The rule set is made anew in each run: its box did not exist before. Where the root layer does not hold, the zygote
 * is closed in as well, to the paths that its root would have shown and to the boxes; rule sets only ever add up. A
 * run's own set then names each of those paths, by descriptors that the template left (JAIL_SHOWN_FD), and no box but
 * its own: a rule for "/" would show it the others'. */
#include "layers.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define LAYER "landlock"

/* linux/landlock.h of ABI 7; the build host's may be older. */
enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_REFER = 1 << 13,
    FS_TRUNCATE = 1 << 14,
    FS_ALL_1 = (1 << 13) - 1, /* what ABI 1 knows: EXECUTE … MAKE_SYM */
    FS_IOCTL_DEV = 1 << 15,
    FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
    FS_IN_BOX = FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_REFER | FS_TRUNCATE,
    NET_BIND_TCP = 1 << 0,
    NET_CONNECT_TCP = 1 << 1,
    SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0,
    SCOPE_SIGNAL = 1 << 1,
    CREATE_RULESET_VERSION = 1 << 0,
    RESTRICT_LOG_SAME_EXEC_OFF = 1 << 0, /* a script could flood the host's audit log */
    RULE_PATH_BENEATH = 1,
    ABI_MOST = 7
};

struct ruleset {
    uint64_t handled_fs, handled_net, scoped;
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

/* What each ABI added. */
static const struct ruleset by_abi[ABI_MOST + 1] = {
    [1] = {.handled_fs = FS_ALL_1},     [2] = {.handled_fs = FS_REFER},
    [3] = {.handled_fs = FS_TRUNCATE},  [4] = {.handled_net = NET_BIND_TCP | NET_CONNECT_TCP},
    [5] = {.handled_fs = FS_IOCTL_DEV}, [6] = {.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL},
};

static const struct {
    const char *path;
    uint64_t allowed;
} rules[] = {
    /* of directories */
    {"/", FS_READ_FILE | FS_READ_DIR},
    {RUN_BOX, FS_IN_BOX},
    {"/dev", FS_WRITE_FILE | FS_TRUNCATE},
};

static struct ruleset handled_by(uint32_t abi)
{
    struct ruleset all = {0};
    for (uint32_t i = 1; i <= abi && i <= ABI_MOST; i++) {
        all.handled_fs |= by_abi[i].handled_fs;
        all.handled_net |= by_abi[i].handled_net;
        all.scoped |= by_abi[i].scoped;
    }
    return all;
}

static int create(const struct ruleset *ruleset, struct fault *fault)
{
    /* Fields past the last that is used may be unknown to this kernel; it takes a longer struct if they are zero. */
    int fd = (int)syscall(SYS_landlock_create_ruleset, ruleset, sizeof *ruleset, 0);
    return fd < 0 ? fault_set(fault, LAYER, "create_ruleset", errno, "rule set") : fd;
}

static int restrict_self(int ruleset, uint32_t abi, struct fault *fault)
{
    if (syscall(SYS_landlock_restrict_self, ruleset, abi >= 7 ? RESTRICT_LOG_SAME_EXEC_OFF : 0))
        return fault_set(fault, LAYER, "restrict_self", errno, "ABI %u", abi);
    return 0;
}

static int add_rule(int ruleset, int parent, uint64_t allowed, const char *what, struct fault *fault)
{
    struct path_beneath rule = {.allowed = allowed, .parent = parent};
    if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0))
        return fault_set(fault, LAYER, "add_rule", errno, "%s", what);
    return 0;
}

/* The kernel refuses rights that only a directory can have on anything else. */
static int allow(int ruleset, int parent, uint64_t allowed, const char *what, struct fault *fault)
{
    struct stat status;
    if (fstat(parent, &status))
        return fault_set(fault, LAYER, "stat", errno, "%s", what);
    return add_rule(ruleset, parent, S_ISDIR(status.st_mode) ? allowed : allowed & FS_OF_FILES, what, fault);
}

/* In the jail's root. */
static int allow_by_table(int ruleset, uint64_t handled, struct fault *fault)
{
    for (size_t i = 0; i < COUNT(rules); i++) {
        auto_fd int parent = open(rules[i].path, O_PATH | O_CLOEXEC);
        if (parent < 0)
            return fault_set(fault, LAYER, "open", errno, "%s", rules[i].path);
        if (add_rule(ruleset, parent, rules[i].allowed & handled, rules[i].path, fault))
            return -1;
    }
    return 0;
}

/* In the host's tree. */
static int allow_shown(int ruleset, uint64_t handled, int box, struct fault *fault)
{
    struct stat status;
    for (int fd = JAIL_SHOWN_FD; fd < JAIL_SHOWN_FD + JAIL_SHOWN_MOST && fstat(fd, &status) == 0; fd++) {
        uint64_t allowed = FS_READ_FILE | FS_READ_DIR | (S_ISCHR(status.st_mode) ? FS_WRITE_FILE : 0);
        if (allow(ruleset, fd, allowed & handled, "a shown path", fault))
            return -1;
        close(fd); /* this run's own: a script finds no descriptor but those that are its business */
    }
    return allow(ruleset, box, (FS_READ_FILE | FS_READ_DIR | FS_IN_BOX) & handled, "the run's box", fault);
}

int landlock_apply(const struct jail_plan *plan, const struct jail_cell *cell, struct fault *fault)
{
    struct ruleset handled = handled_by(plan->landlock_abi);
    auto_fd int ruleset = create(&handled, fault);
    if (ruleset < 0)
        return -1;
    if (plan->layers & LAYER_BIT(LAYER_ROOT) ? allow_by_table(ruleset, handled.handled_fs, fault)
                                             : allow_shown(ruleset, handled.handled_fs, cell->box, fault))
        return -1;
    return restrict_self(ruleset, plan->landlock_abi, fault);
}

/* Shows the path to the zygote, and leaves it the descriptor at *shown for its runs. Missing ones are the business of
 * who execs. */
static int show(int ruleset, const char *path, uint64_t allowed, int *shown, struct fault *fault)
{
    auto_fd int parent = open(path, O_PATH | O_CLOEXEC);
    if (parent < 0)
        return 0;
    if (*shown == JAIL_SHOWN_FD + JAIL_SHOWN_MOST || dup2(parent, *shown) < 0)
        return fault_set(fault, LAYER, "dup2", errno, "%s as descriptor %d", path, *shown);
    ++*shown;
    return allow(ruleset, parent, allowed, path, fault);
}

int landlock_template(const struct jail_plan *plan, const struct jail_path *extra, size_t extra_count,
                      struct fault *fault)
{
    struct ruleset handled = {.handled_fs = handled_by(plan->landlock_abi).handled_fs};
    int shown = JAIL_SHOWN_FD;
    auto_fd int ruleset = create(&handled, fault);
    if (ruleset < 0)
        return -1;
    for (size_t i = 0; i < policy_path_count + extra_count; i++) {
        const struct jail_path *path = i < policy_path_count ? &policy_paths[i] : &extra[i - policy_path_count];
        uint64_t allowed = FS_READ_FILE | FS_READ_DIR | (path->data ? 0 : FS_EXECUTE);
        if (strncmp(path->host, "/dev/", 5) == 0)
            allowed |= FS_WRITE_FILE;
        if (show(ruleset, path->host, allowed & handled.handled_fs, &shown, fault))
            return -1;
    }
    /* For the maps and the limit that a run writes of its new user namespace, before its own rule set. */
    if ((jail_clone_flags(plan) & CLONE_NEWUSER) && allow(ruleset, JAIL_PROC_FD, FS_WRITE_FILE, "/proc", fault))
        return -1;
    auto_fd int boxes = *plan->boxes ? open(plan->boxes, O_PATH | O_CLOEXEC) : -1;
    if (*plan->boxes && boxes < 0)
        return fault_set(fault, LAYER, "open", errno, "%s", plan->boxes);
    if (boxes >= 0 &&
        allow(ruleset, boxes, (FS_READ_FILE | FS_READ_DIR | FS_IN_BOX) & handled.handled_fs, plan->boxes, fault))
        return -1;
    return restrict_self(ruleset, plan->landlock_abi, fault);
}

/* A rule set without a rule, closed around this child: nothing may work any more. The run's own sequence is the same.
 */
static int check(void *plan, struct fault *fault)
{
    uint32_t abi = ((const struct jail_plan *)plan)->landlock_abi;
    struct ruleset handled = handled_by(abi);
    pid_t parent = getppid();
    auto_fd int ruleset = create(&handled, fault);
    if (ruleset < 0)
        return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fault_set(fault, LAYER, "prctl", errno, "PR_SET_NO_NEW_PRIVS");
    if (restrict_self(ruleset, abi, fault))
        return -1;
    if (open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES)
        return fault_set(fault, LAYER, "open", 0, "/ can still be read");
    auto_fd int tcp = abi >= 4 ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (tcp >= 0 && (bind(tcp, (struct sockaddr *)&any, sizeof any) == 0 || errno != EACCES))
        return fault_set(fault, LAYER, "bind", 0, "TCP ports can still be bound");
    if (abi >= 6 && (kill(parent, 0) == 0 || errno != EPERM))
        return fault_set(fault, LAYER, "kill", 0, "the parent can still be signalled");
    return 0;
}

int landlock_probe(struct jail_plan *plan, struct layer_report *report)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    if (abi < 1)
        return fault_set(&report->fault, LAYER, "create_ruleset", errno, "version");
    plan->landlock_abi = abi > ABI_MOST ? ABI_MOST : (uint32_t)abi;
    if (in_child(LAYER, check, plan, &report->fault)) {
        plan->landlock_abi = 0;
        return -1;
    }
    snprintf(report->how, sizeof report->how, "ABI %u: files%s%s", plan->landlock_abi,
             plan->landlock_abi >= 4 ? ", TCP" : "", plan->landlock_abi >= 6 ? ", signals, abstract sockets" : "");
    return 0;
}
