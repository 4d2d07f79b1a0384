#include "sandbox.h"

#include "named.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#else
/* The leak checker reads /proc, which the front's root does not have. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

enum check { ANY, EQUAL, WITHOUT /* none of these bits */, WHOLE /* as 64 bits */, OURSELVES /* our pid */ };

enum user {
    FRONT = 1,
    CLIENT = 2,
    SUPERVISOR = 4,
    TLS = 8,
    SERVERS = FRONT | TLS,
    PARSERS = FRONT | CLIENT | TLS,
    ALL = PARSERS | SUPERVISOR
};

/* Every system call that is left, and to whom. Rows of one call are alternatives. */
static const struct {
    enum user user;
    int call;
    enum check check;
    unsigned argument;
    uint64_t value;
} calls[] = {
    /* clients, each other, runs' pipes */
    {SERVERS, SCMP_SYS(accept4), ANY},
    {ALL, SCMP_SYS(read), ANY},
    {SERVERS, SCMP_SYS(recvfrom), ANY},
    {ALL, SCMP_SYS(recvmsg), ANY},
    {ALL, SCMP_SYS(write), ANY},
    {SERVERS | SUPERVISOR, SCMP_SYS(sendto), ANY},
    {ALL, SCMP_SYS(sendmsg), ANY},
    {SERVERS, SCMP_SYS(shutdown), ANY},
    {ALL, SCMP_SYS(close), ANY},
    {SERVERS, SCMP_SYS(setsockopt), EQUAL, 1, IPPROTO_TCP}, /* NODELAY; libmicrohttpd: CORK, too */
    {FRONT, SCMP_SYS(setsockopt), EQUAL, 2, SO_PEEK_OFF},   /* connection.c: a head that comes in pieces */
    {FRONT | SUPERVISOR, SCMP_SYS(fcntl), EQUAL, 1, F_GETFD},
    {FRONT | SUPERVISOR, SCMP_SYS(fcntl), EQUAL, 1, F_SETFD},
    {ALL, SCMP_SYS(fcntl), EQUAL, 1, F_GETFL},
    {ALL, SCMP_SYS(fcntl), EQUAL, 1, F_SETFL},
    {FRONT | SUPERVISOR, SCMP_SYS(fcntl), EQUAL, 1, F_DUPFD_CLOEXEC}, /* lingering; messages that wait */
    {SERVERS | SUPERVISOR, SCMP_SYS(epoll_wait), ANY},
    {SERVERS | SUPERVISOR, SCMP_SYS(epoll_pwait), ANY},
    {SERVERS | SUPERVISOR, SCMP_SYS(epoll_ctl), ANY},
    /* the client's terminal and pipes */
    {CLIENT | SUPERVISOR, SCMP_SYS(poll), ANY},
    {CLIENT | SUPERVISOR, SCMP_SYS(ppoll), ANY},
    {CLIENT | SUPERVISOR, SCMP_SYS(writev), ANY},
    {CLIENT | SUPERVISOR | TLS, SCMP_SYS(fstat), ANY}, /* stdio; a new certificate */
    {CLIENT | TLS, SCMP_SYS(newfstatat), EQUAL, 3, AT_EMPTY_PATH},
    /* jobs */
    {FRONT | SUPERVISOR, SCMP_SYS(memfd_create), WITHOUT, 1, MFD_HUGETLB},
    {FRONT | SUPERVISOR, SCMP_SYS(pwrite64), ANY},
    {FRONT | SUPERVISOR, SCMP_SYS(fcntl), EQUAL, 1, F_ADD_SEALS},
    {SUPERVISOR, SCMP_SYS(fcntl), EQUAL, 1, F_GET_SEALS},
    {SERVERS | SUPERVISOR, SCMP_SYS(getrandom), ANY},
    /* the supervisor's children, pipes and timers */
    {SUPERVISOR | TLS, SCMP_SYS(socketpair), EQUAL, 0, AF_UNIX},
    {SUPERVISOR, SCMP_SYS(socket), EQUAL, 0, AF_UNIX}, /* a word to the service manager */
    {SUPERVISOR, SCMP_SYS(pipe2), ANY},
    {SUPERVISOR, SCMP_SYS(eventfd2), ANY},
    {SUPERVISOR, SCMP_SYS(wait4), ANY},
    {SUPERVISOR, SCMP_SYS(waitid), ANY},
    {SUPERVISOR, SCMP_SYS(getsid), ANY},
    {SUPERVISOR, SCMP_SYS(kill), WITHOUT, 0, UINT32_C(1) << 31}, /* no groups, not everybody */
    {SUPERVISOR, SCMP_SYS(pidfd_send_signal), ANY},
    {SUPERVISOR, SCMP_SYS(ioctl), EQUAL, 1, (uint32_t)SECCOMP_IOCTL_NOTIF_RECV},
    {SUPERVISOR, SCMP_SYS(ioctl), EQUAL, 1, (uint32_t)SECCOMP_IOCTL_NOTIF_SEND},
    {SUPERVISOR, SCMP_SYS(ioctl), EQUAL, 1, (uint32_t)NAMED_ASK},
    {SUPERVISOR, SCMP_SYS(ioctl), EQUAL, 1, SIOCOUTQ}, /* how much a child has not read yet */
    {SUPERVISOR, SCMP_SYS(nanosleep), ANY},
    {SUPERVISOR, SCMP_SYS(clock_nanosleep), ANY},
    /* the supervisor's files: Landlock says where */
    {SUPERVISOR, SCMP_SYS(openat), ANY},
    {SUPERVISOR, SCMP_SYS(lseek), ANY},
    {SUPERVISOR | SERVERS, SCMP_SYS(pread64), ANY}, /* the front: what it is told anew, in a memory file */
    {SUPERVISOR, SCMP_SYS(getdents64), ANY},
    {SUPERVISOR, SCMP_SYS(newfstatat), ANY},
    {SUPERVISOR, SCMP_SYS(access), ANY},
    {SUPERVISOR, SCMP_SYS(faccessat), ANY},
    {SUPERVISOR, SCMP_SYS(faccessat2), ANY},
    {SUPERVISOR, SCMP_SYS(fstatfs), ANY},
    {SUPERVISOR, SCMP_SYS(flock), ANY},
    {SUPERVISOR, SCMP_SYS(mkdirat), ANY},
    {SUPERVISOR, SCMP_SYS(unlinkat), ANY},
    {SUPERVISOR, SCMP_SYS(unlink), ANY},    /* a listening socket's path */
    {SUPERVISOR, SCMP_SYS(renameat), ANY},  /* boxes */
    {SUPERVISOR, SCMP_SYS(renameat2), ANY}, /* where there is no other */
    {SUPERVISOR, SCMP_SYS(fchmodat), ANY},
    {SUPERVISOR, SCMP_SYS(fchownat), ANY},
    /* the log's relay, again: it gives up all but six calls itself */
    {SUPERVISOR, SCMP_SYS(clone), WHOLE, 0, 0},
    {SUPERVISOR, SCMP_SYS(pidfd_open), ANY},
    {SUPERVISOR, SCMP_SYS(dup2), ANY},
    {SUPERVISOR, SCMP_SYS(dup3), ANY},
    {SUPERVISOR, SCMP_SYS(close_range), ANY},
    {SUPERVISOR, SCMP_SYS(capset), ANY},
    {SUPERVISOR, SCMP_SYS(prctl), EQUAL, 0, PR_SET_NAME},
    {SUPERVISOR, SCMP_SYS(prctl), EQUAL, 0, PR_SET_NO_NEW_PRIVS},
    {SUPERVISOR, SCMP_SYS(prctl), EQUAL, 0, PR_SET_DUMPABLE},
    {SUPERVISOR, SCMP_SYS(seccomp), ANY},
    /* settings that are read again: what the machine has */
    {SUPERVISOR, SCMP_SYS(sysinfo), ANY},
    {SUPERVISOR, SCMP_SYS(sched_getaffinity), ANY},
    {SUPERVISOR, SCMP_SYS(prlimit64), EQUAL, 0, 0}, /* our own */
    {SUPERVISOR, SCMP_SYS(geteuid), ANY},
    /* malloc, never for code */
    {ALL, SCMP_SYS(brk), ANY},
    {ALL, SCMP_SYS(mmap), WITHOUT, 2, PROT_EXEC},
    {ALL, SCMP_SYS(mprotect), WITHOUT, 2, PROT_EXEC},
    {ALL, SCMP_SYS(mremap), ANY},
    {ALL, SCMP_SYS(munmap), ANY},
    {ALL, SCMP_SYS(madvise), ANY},
    /* the C library */
    {ALL, SCMP_SYS(futex), ANY},
    {ALL, SCMP_SYS(clock_gettime), ANY}, /* where the vdso does not do it; the CPU clocks of runs */
    {ALL, SCMP_SYS(gettimeofday), ANY},
    {ALL, SCMP_SYS(time), ANY},
    {ALL, SCMP_SYS(restart_syscall), ANY},
    {ALL, SCMP_SYS(rt_sigreturn), ANY},
    {ALL, SCMP_SYS(rt_sigprocmask), ANY}, /* abort() */
    {ALL, SCMP_SYS(rt_sigaction), ANY},
    {ALL, SCMP_SYS(getpid), ANY},
    {ALL, SCMP_SYS(gettid), ANY},
    {ALL, SCMP_SYS(tgkill), OURSELVES, 0},
    {ALL, SCMP_SYS(exit), ANY},
    {ALL, SCMP_SYS(exit_group), ANY},
};

/* What somebody who has broken in would try next. */
static const int fatal[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(chroot),
    SCMP_SYS(pivot_root),
    SCMP_SYS(bpf),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kexec_load),
};

static const struct {
    enum user user;
    int resource;
    const char *name;
    rlim_t most;
} limits[] = {
    {PARSERS, RLIMIT_NPROC, "RLIMIT_NPROC", 0},
    {ALL, RLIMIT_CORE, "RLIMIT_CORE", 0},
    {ALL, RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0},
    {ALL, RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE", 0},
};

static int lower_limits(enum user user, struct fault *fault)
{
    for (size_t i = 0; i < COUNT(limits); i++) {
        struct rlimit limit = {limits[i].most, limits[i].most};
        if ((limits[i].user & user) && setrlimit(limits[i].resource, &limit))
            return fault_set(fault, "sandbox", "setrlimit", errno, "%s", limits[i].name);
    }
    return 0;
}

int sandbox_keep_capabilities(uint32_t kept, struct fault *fault)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[2] = {{0}}, left[2] = {{0}};
    if (syscall(SYS_capget, &header, have))
        return fault_set(fault, "sandbox", "capget", errno, "our own");
    for (int i = 0; (have[0].effective & (1u << CAP_SETPCAP)) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++) {
        if ((i >= 32 || !(kept & (1u << i))) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0))
            return fault_set(fault, "sandbox", "prctl", errno, "PR_CAPBSET_DROP %d", i);
    }
    left[0].effective = left[0].permitted = have[0].permitted & kept;
    if (syscall(SYS_capset, &header, left)) /* the ambient set follows by itself */
        return fault_set(fault, "sandbox", "capset", errno, "0x%x", left[0].permitted);
    return 0;
}

static int drop_privileges(uint32_t capabilities, struct fault *fault)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fault_set(fault, "sandbox", "prctl", errno, "PR_SET_NO_NEW_PRIVS");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        return fault_set(fault, "sandbox", "prctl", errno, "PR_SET_DUMPABLE");
    return sandbox_keep_capabilities(capabilities, fault);
}

/* linux/landlock.h, which may be older than the kernel. */
enum {
    FS_EXECUTE = 1 << 0,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_FILE = 1 << 5,
    RULE_PATH_BENEATH = 1,
    SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0,
    SCOPE_SIGNAL = 1 << 1,
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

static int allow_below(int ruleset, int directory, uint64_t allowed, struct fault *fault)
{
    struct path_beneath rule = {.allowed = allowed, .parent = directory};
    if (directory < 0 || syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0U))
        return fault_set(fault, "sandbox", "landlock", errno, "a rule");
    return 0;
}

static int allow_rooms(int ruleset, uint64_t files, const struct sandbox_room *rooms, size_t count, struct fault *fault)
{
    auto_fd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (allow_below(ruleset, root, FS_READ_FILE | FS_READ_DIR, fault))
        return -1;
    for (size_t i = 0; i < count; i++) {
        uint64_t rights = rooms[i].rights == ROOM_ALL ? files & ~(uint64_t)FS_EXECUTE : FS_REMOVE_FILE;
        if (allow_below(ruleset, rooms[i].directory, rights, fault))
            return -1;
    }
    return 0;
}

/* Denies all files (the supervisor: to change them, but in its rooms), TCP ports, foreign signals (but not the
 * supervisor's) and abstract sockets, as far as this kernel's Landlock goes. Bits of handled_access_fs by ABI. */
static int restrict_files(enum user user, const struct sandbox_room *rooms, size_t count, struct fault *fault)
{
    static const uint64_t files[] = {0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff};
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1U /* LANDLOCK_CREATE_RULESET_VERSION */);
    if (abi < 1)
        return 0; /* ENOSYS, EOPNOTSUPP: the parsers have no call that names a file or makes a socket */
    uint64_t scopes = user == SUPERVISOR ? 0 : SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
    struct {
        uint64_t files, net, scoped;
    } handled = {files[(size_t)abi < COUNT(files) ? (size_t)abi : COUNT(files) - 1], abi >= 4 ? 3 : 0,
                 abi >= 6 ? scopes : 0};
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    auto_fd int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0U);
    if (ruleset >= 0 && user == SUPERVISOR && allow_rooms(ruleset, handled.files, rooms, count, fault))
        return -1;
    if (ruleset < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0U))
        return fault_set(fault, "sandbox", "landlock", errno, "a rule set (ABI %ld)", abi);
    return 0;
}

static int allow_calls(enum user user, struct fault *fault)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int error = filter ? seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) : -ENOMEM;
    for (size_t i = 0; i < COUNT(calls) && error == 0; i++) {
        if (!(calls[i].user & user))
            continue;
        struct scmp_arg_cmp check = {.arg = calls[i].argument, .op = SCMP_CMP_MASKED_EQ};
        /* Only the low half: the kernel takes these arguments as ints, and the high half is anybody's. */
        check.datum_a = calls[i].check == WITHOUT ? calls[i].value : calls[i].check == WHOLE ? UINT64_MAX : UINT32_MAX;
        check.datum_b = calls[i].check == WITHOUT     ? 0
                        : calls[i].check == OURSELVES ? (uint64_t)getpid()
                                                      : calls[i].value;
        error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, calls[i].call, calls[i].check != ANY, &check);
    }
    for (size_t i = 0; i < COUNT(fatal) && error == 0; i++)
        error = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, fatal[i], 0);
    if (error == 0)
        error = seccomp_load(filter);
    seccomp_release(filter);
    return error ? fault_set(fault, "sandbox", "seccomp", -error, "the list of allowed system calls") : 0;
}

static int enter(enum user user, uint32_t capabilities, const struct sandbox_room *rooms, size_t count,
                 struct fault *fault)
{
    tzset(); /* reads its file now, never later */
    if (SANITIZED)
        return 0; /* sanitizers need files, threads and ptrace */
    if (lower_limits(user, fault) || drop_privileges(capabilities, fault) ||
        restrict_files(user, rooms, count, fault) || allow_calls(user, fault))
        return -1;
    return 0;
}

int sandbox_front(struct fault *fault)
{
    return enter(FRONT, 0, NULL, 0, fault);
}

int sandbox_client(struct fault *fault)
{
    return enter(CLIENT, 0, NULL, 0, fault);
}

int sandbox_tls(struct fault *fault)
{
    return enter(TLS, 0, NULL, 0, fault);
}

int sandbox_supervisor(uint32_t capabilities, const struct sandbox_room *rooms, size_t count, struct fault *fault)
{
    return enter(SUPERVISOR, capabilities, rooms, count, fault);
}
