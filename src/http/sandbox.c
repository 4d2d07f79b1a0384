#include "sandbox.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <seccomp.h>
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

enum check { ANY, EQUAL, WITHOUT /* none of these bits */ };

enum user { FRONT = 1, CLIENT = 2, BOTH = 3 };

/* Every system call that is left, and to whom. What is not in here gives EPERM. Rows of one call are alternatives. */
static const struct {
    enum user user;
    int call;
    enum check check;
    unsigned argument;
    uint64_t value;
} calls[] = {
    /* clients, the supervisor, runs' pipes */
    {FRONT, SCMP_SYS(accept4), ANY},
    {BOTH, SCMP_SYS(read), ANY},
    {FRONT, SCMP_SYS(recvfrom), ANY},
    {BOTH, SCMP_SYS(recvmsg), ANY},
    {BOTH, SCMP_SYS(write), ANY},
    {FRONT, SCMP_SYS(sendto), ANY},
    {BOTH, SCMP_SYS(sendmsg), ANY},
    {FRONT, SCMP_SYS(shutdown), ANY},
    {BOTH, SCMP_SYS(close), ANY},
    {FRONT, SCMP_SYS(setsockopt), EQUAL, 1, IPPROTO_TCP}, /* libmicrohttpd: NODELAY and CORK */
    {FRONT, SCMP_SYS(setsockopt), EQUAL, 2, SO_PEEK_OFF}, /* connection.c: a head that comes in pieces */
    {FRONT, SCMP_SYS(fcntl), EQUAL, 1, F_GETFD},
    {FRONT, SCMP_SYS(fcntl), EQUAL, 1, F_SETFD},
    {BOTH, SCMP_SYS(fcntl), EQUAL, 1, F_GETFL},
    {BOTH, SCMP_SYS(fcntl), EQUAL, 1, F_SETFL},
    {FRONT, SCMP_SYS(fcntl), EQUAL, 1, F_DUPFD_CLOEXEC}, /* lingering */
    {FRONT, SCMP_SYS(epoll_wait), ANY},
    {FRONT, SCMP_SYS(epoll_pwait), ANY},
    {FRONT, SCMP_SYS(epoll_ctl), ANY},
    /* the client's terminal and pipes */
    {CLIENT, SCMP_SYS(poll), ANY},
    {CLIENT, SCMP_SYS(ppoll), ANY},
    {CLIENT, SCMP_SYS(writev), ANY},
    {CLIENT, SCMP_SYS(fstat), ANY}, /* stdio */
    {CLIENT, SCMP_SYS(newfstatat), EQUAL, 3, AT_EMPTY_PATH},
    /* jobs */
    {FRONT, SCMP_SYS(memfd_create), ANY},
    {FRONT, SCMP_SYS(pwrite64), ANY},
    {FRONT, SCMP_SYS(fcntl), EQUAL, 1, F_ADD_SEALS},
    {FRONT, SCMP_SYS(getrandom), ANY},
    /* malloc, never for code */
    {BOTH, SCMP_SYS(brk), ANY},
    {BOTH, SCMP_SYS(mmap), WITHOUT, 2, PROT_EXEC},
    {BOTH, SCMP_SYS(mprotect), WITHOUT, 2, PROT_EXEC},
    {BOTH, SCMP_SYS(mremap), ANY},
    {BOTH, SCMP_SYS(munmap), ANY},
    {BOTH, SCMP_SYS(madvise), ANY},
    /* the C library */
    {BOTH, SCMP_SYS(futex), ANY},
    {BOTH, SCMP_SYS(clock_gettime), ANY}, /* where the vdso does not do it */
    {BOTH, SCMP_SYS(gettimeofday), ANY},
    {BOTH, SCMP_SYS(time), ANY},
    {BOTH, SCMP_SYS(restart_syscall), ANY},
    {BOTH, SCMP_SYS(rt_sigreturn), ANY},
    {BOTH, SCMP_SYS(rt_sigprocmask), ANY}, /* abort() */
    {BOTH, SCMP_SYS(rt_sigaction), ANY},
    {BOTH, SCMP_SYS(getpid), ANY},
    {BOTH, SCMP_SYS(gettid), ANY},
    {BOTH, SCMP_SYS(tgkill), ANY},
    {BOTH, SCMP_SYS(exit), ANY},
    {BOTH, SCMP_SYS(exit_group), ANY},
};

static const struct {
    int resource;
    const char *name;
    rlim_t most;
} limits[] = {
    {RLIMIT_NPROC, "RLIMIT_NPROC", 0},
    {RLIMIT_CORE, "RLIMIT_CORE", 0},
    {RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0},
    {RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE", 0},
};

static int lower_limits(struct fault *fault)
{
    for (size_t i = 0; i < COUNT(limits); i++) {
        struct rlimit limit = {limits[i].most, limits[i].most};
        if (setrlimit(limits[i].resource, &limit))
            return fault_set(fault, "sandbox", "setrlimit", errno, "%s", limits[i].name);
    }
    return 0;
}

static int drop_privileges(struct fault *fault)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fault_set(fault, "sandbox", "prctl", errno, "PR_SET_NO_NEW_PRIVS");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        return fault_set(fault, "sandbox", "prctl", errno, "PR_SET_DUMPABLE");
    if (syscall(SYS_capset, &header, none))
        return fault_set(fault, "sandbox", "capset", errno, "no capabilities");
    return 0;
}

/* Denies all files, TCP ports, foreign signals and abstract sockets, as far as this kernel's Landlock goes. Numbers,
 * not the header's names, for that may be older than the kernel: bits of handled_access_fs by ABI, then net and scoped.
 */
static int deny_by_landlock(struct fault *fault)
{
    static const uint64_t files[] = {0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff};
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1U /* LANDLOCK_CREATE_RULESET_VERSION */);
    if (abi < 1)
        return 0; /* ENOSYS, EOPNOTSUPP: the list of system calls has no call that names a file or makes a socket */
    struct {
        uint64_t files, net, scoped;
    } handled = {files[(size_t)abi < COUNT(files) ? (size_t)abi : COUNT(files) - 1], abi >= 4 ? 3 : 0,
                 abi >= 6 ? 3 : 0};
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    auto_fd int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0U);
    if (ruleset < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0U))
        return fault_set(fault, "sandbox", "landlock", errno, "deny everything (ABI %ld)", abi);
    return 0;
}

static int allow_calls(enum user user, struct fault *fault)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int error = filter ? 0 : -ENOMEM;
    for (size_t i = 0; i < COUNT(calls) && error == 0; i++) {
        if (!(calls[i].user & user))
            continue;
        struct scmp_arg_cmp check = {.arg = calls[i].argument, .op = SCMP_CMP_MASKED_EQ};
        /* Only the low half: the kernel takes these arguments as ints, and the high half is anybody's. */
        check.datum_a = calls[i].check == EQUAL ? UINT32_MAX : calls[i].value;
        check.datum_b = calls[i].check == EQUAL ? calls[i].value : 0;
        error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, calls[i].call, calls[i].check != ANY, &check);
    }
    if (error == 0)
        error = seccomp_load(filter);
    seccomp_release(filter);
    return error ? fault_set(fault, "sandbox", "seccomp", -error, "the list of allowed system calls") : 0;
}

static int enter(enum user user, struct fault *fault)
{
    tzset(); /* reads its file now, never later */
    if (SANITIZED)
        return 0; /* sanitizers need files, threads and ptrace */
    if (lower_limits(fault) || drop_privileges(fault) || deny_by_landlock(fault) || allow_calls(user, fault))
        return -1;
    return 0;
}

int sandbox_front(struct fault *fault)
{
    return enter(FRONT, fault);
}

int sandbox_client(struct fault *fault)
{
    return enter(CLIENT, fault);
}
