/* The policy: what a script can see, call and use up. Only data, and what a row means; a reader sees the whole jail
 * here.
 *
 * Rules for changing it (tests/unit/test_policy.c counts): at most 60 different system calls are allowed, those that
 * the supervisor is asked about among them; each has a script that needs it (tests/escape/test_rows.py); an argument
 * that selects what a call does is checked; a call that touches more than the run's own processes, memory and box is
 * denied. 32-bit arguments are compared as 32 bits: the kernel ignores the upper half and so must the check
 * (CVE-2019-7303). */
#include "policy.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

/* ---- what is shown ---- */

/* Not here on purpose: /etc as a whole, /proc, /sys, /usr/bin, /var, /home. The interpreter's own paths come on top. */
const struct jail_path policy_paths[] = {
    {.host = "/usr/lib"}, /* shared libraries, the standard library, Debian's packages */
    {.host = "/usr/local/lib", .optional = true},
    {.host = "/usr/lib32", .optional = true},
    {.host = "/usr/lib64", .optional = true},
    {.host = "/usr/libx32", .optional = true},
    {.host = "/lib", .optional = true}, /* links into /usr where the host has merged them */
    {.host = "/lib32", .optional = true},
    {.host = "/lib64", .optional = true},
    {.host = "/libx32", .optional = true},
    {.host = "/etc/ld.so.cache", .optional = true, .data = true},
    {.host = "/etc/alternatives", .optional = true, .data = true}, /* links: which BLAS */
    {.host = "/etc/localtime", .optional = true, .data = true},
    {.host = "/etc/timezone", .optional = true, .data = true},
    {.host = "/etc/mime.types", .optional = true, .data = true},
    {.host = "/etc/ssl/certs", .optional = true, .data = true},
    {.host = "/etc/ssl/openssl.cnf", .optional = true, .data = true},
    {.host = "/etc/matplotlibrc", .optional = true, .data = true},
    {.host = "/etc/fonts", .optional = true, .data = true},
    {.host = "/usr/share/zoneinfo", .optional = true, .data = true},
    {.host = "/usr/share/ca-certificates", .optional = true, .data = true},
    {.host = "/usr/share/fonts", .optional = true, .data = true},
    {.host = "/usr/share/fontconfig", .optional = true, .data = true},
    {.host = "/usr/share/matplotlib", .optional = true, .data = true},
    {.host = "/dev/null"},
    {.host = "/dev/zero"},
    {.host = "/dev/full"},
    {.host = "/dev/random"},
    {.host = "/dev/urandom"},
};
const size_t policy_path_count = COUNT(policy_paths);

const struct jail_link policy_links[] = {
    {"/tmp", "box/tmp"},
    {"/work", "box/work"},
    {"/dev/shm", "../box/shm"},
};
const size_t policy_link_count = COUNT(policy_links);

/* ---- what can be called ---- */

#define LOW UINT64_C(0xffffffff)
/* Checks of one argument: equal as 32 bits; no other bits than these; none of these bits; equal as 64 bits. */
#define IS(which, wanted)                                                                                              \
    {                                                                                                                  \
        .index = (which), .compare = ARG_MASKED, .mask = LOW, .value = (uint32_t)(wanted)                              \
    }
#define ONLY(which, bits)                                                                                              \
    {                                                                                                                  \
        .index = (which), .compare = ARG_MASKED, .mask = LOW & ~(uint64_t)(bits), .value = 0                           \
    }
#define WITHOUT(which, bits)                                                                                           \
    {                                                                                                                  \
        .index = (which), .compare = ARG_MASKED, .mask = (uint32_t)(bits), .value = 0                                  \
    }
#define BESIDES(which, bits, wanted)                                                                                   \
    {                                                                                                                  \
        .index = (which), .compare = ARG_MASKED, .mask = LOW & ~(uint64_t)(bits), .value = (wanted)                    \
    }
#define WHOLE(which, wanted)                                                                                           \
    {                                                                                                                  \
        .index = (which), .compare = ARG_EQUAL, .value = (wanted)                                                      \
    }
#define OTHER(which, unwanted)                                                                                         \
    {                                                                                                                  \
        .index = (which), .compare = ARG_OTHER, .value = (unwanted)                                                    \
    }

#define CHECKS(...)         .check = {__VA_ARGS__}
#define CALL(name)          .detail = -1, .number = SCMP_SYS(name)
#define DETAIL(name, which) .detail = (which), .number = SCMP_SYS(name)

#define THREAD_FLAGS                                                                                                   \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |                 \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#define FORK_FLAGS  (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)
#define SPAWN_FLAGS (CLONE_VM | CLONE_VFORK | SIGCHLD)
#define SET_ID_BITS (S_ISUID | S_ISGID)
/* Out-of-band bytes on Unix sockets (CVE-2025-38236) and pinned pages: nobody's need. */
#define RISKY_MESSAGES (MSG_OOB | MSG_ZEROCOPY | MSG_ERRQUEUE)
/* Huge pages are counted by no memory limit; the others pin or grow memory by themselves. */
#define RISKY_MAPPINGS    (MAP_HUGETLB | MAP_LOCKED | MAP_GROWSDOWN)
#define TERMINAL_SETTINGS _IOC(_IOC_READ, 'T', 0x2a, 44) /* TCGETS2, whose struct clashes with termios.h */
#define FUTEX_OPTIONS     (FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME)

#define NETWORK   "the network is off in this jail"
#define PROGRAMS  "programs cannot be started in this jail"
#define PROCESSES "this jail allows threads but not processes"
#define OTHERS    "other processes cannot be reached from this jail"
#define MOUNTS    "the file system's layout is fixed in this jail"
#define SPACES    "namespaces are fixed in this jail"
#define PRIVILEGE "a script has no privileges in this jail"
#define KERNEL    "this kernel interface is closed in this jail"
#define IPC       "System V and POSIX message queues are off; use threads, pipes or multiprocessing"
#define LINKS     "symbolic links and special files cannot be made in this jail"
#define OWNERS    "all files belong to the script and cannot be given away"
#define CLOCK     "the clock cannot be set"

const struct call_row policy_calls[] = {
    /* -- files: names are confined by the root, the mounts and landlock, not here -- */
    {CALL(read), ALLOW, .reason = "files, pipes"},
    {CALL(write), ALLOW, .reason = "files, pipes"},
    {CALL(pread64), ALLOW, .reason = "sqlite3"},
    {CALL(pwrite64), ALLOW, .reason = "sqlite3"},
    {CALL(lseek), ALLOW, .reason = "files"},
    {CALL(openat), ALLOW, CHECKS(WITHOUT(3, SET_ID_BITS)), .reason = "open(); no set-id files"},
    {CALL(close), ALLOW, .reason = "files"},
    {CALL(fstat), ALLOW, .reason = "os.fstat, glibc 2.39"},
    {CALL(newfstatat), ALLOW, .reason = "os.stat"},
    {CALL(access), ALLOW, .reason = "os.access, sqlite3"},
    {CALL(readlink), ALLOW, .reason = "os.path.realpath"},
    {CALL(getdents64), ALLOW, .reason = "os.scandir"},
    {CALL(getcwd), ALLOW, .reason = "os.getcwd"},
    {CALL(chdir), ALLOW, .reason = "os.chdir"},
    {CALL(statfs), ALLOW, .reason = "multiprocessing.Value, shutil.disk_usage"},
    {CALL(ftruncate), ALLOW, .reason = "file.truncate, shared memory"},
    {CALL(mkdir), ALLOW, .reason = "os.mkdir"},
    {CALL(rmdir), ALLOW, .reason = "os.rmdir"},
    {CALL(unlink), ALLOW, .reason = "os.unlink"},
    {CALL(unlinkat), ALLOW, CHECKS(ONLY(2, AT_REMOVEDIR)), .reason = "shutil.rmtree"},
    {CALL(rename), ALLOW, .reason = "os.replace"},
    {CALL(link), ALLOW, .reason = "multiprocessing.Lock: sem_open() links the new semaphore"},
    {CALL(chmod), ALLOW, CHECKS(WITHOUT(1, SET_ID_BITS)), .reason = "shutil.copy; no set-id bits", .only = ONLY_ROOTED},
    {CALL(chmod), QUIET, 0, CHECKS(WITHOUT(1, SET_ID_BITS)), .reason = "shutil.copy: modes stay as they are",
     .only = ONLY_UNROOTED},
    {CALL(utimensat), ALLOW, CHECKS(ONLY(3, AT_SYMLINK_NOFOLLOW)), .reason = "shutil.copy2", .only = ONLY_ROOTED},
    {CALL(utimensat), QUIET, 0, CHECKS(ONLY(3, AT_SYMLINK_NOFOLLOW)), .reason = "shutil.copy2: times stay as they are",
     .only = ONLY_UNROOTED},
    {CALL(dup2), ALLOW, .reason = "os.dup2"},
    {CALL(pipe2), ALLOW, CHECKS(ONLY(1, O_CLOEXEC | O_NONBLOCK)),
     .reason = "os.pipe; no watch queues (O_NOTIFICATION_PIPE)"},

    {CALL(fcntl), ALLOW, CHECKS(IS(1, F_DUPFD_CLOEXEC)), .reason = "os.dup"},
    {CALL(fcntl), ALLOW, CHECKS(IS(1, F_DUPFD)), .reason = "fcntl.fcntl: another number for a file"},
    {CALL(fcntl), ALLOW, CHECKS(IS(1, F_GETFD)), .reason = "os.get_inheritable"},
    {CALL(fcntl), ALLOW, CHECKS(IS(1, F_SETFD)), .reason = "fcntl.fcntl; a run's own standard input"},
    {CALL(fcntl), ALLOW, CHECKS(IS(1, F_GETFL)), .reason = "os.get_blocking"},
    {CALL(fcntl), ALLOW, CHECKS(IS(1, F_SETFL)), .reason = "fcntl.fcntl: O_NONBLOCK"},
    {CALL(fcntl), ALLOW, CHECKS(IS(1, F_GETLK)), .reason = "sqlite3: nobody ever holds a lock"},
    {CALL(fcntl), ALLOW, CHECKS(IS(1, F_GETPIPE_SZ)), .reason = "fcntl.fcntl: how much a pipe holds"},
    /* The shown files are the same inodes in every run: a lock on one would be a signal to another run. Each run is
     * alone with the files that it can write, so the answer "you have it" is right for all but its own forks. */
    {CALL(fcntl), QUIET, 0, CHECKS(IS(1, F_SETLK)), .reason = "sqlite3: a run is alone with its files"},
    {CALL(fcntl), QUIET, 0, CHECKS(IS(1, F_SETLKW)), .reason = "fcntl.lockf: a run is alone with its files"},
    {CALL(flock), QUIET, 0, .reason = "fcntl.flock: a run is alone with its files"},
    {DETAIL(fcntl, 1), DENY, EINVAL, .reason = "leases, notifications and pipe sizes cannot be set"},

    {CALL(ioctl), ALLOW, CHECKS(IS(1, FIOCLEX)), .reason = "os.set_inheritable(fd, False)"},
    {CALL(ioctl), ALLOW, CHECKS(IS(1, FIONCLEX)), .reason = "os.set_inheritable(fd, True)"},
    {CALL(ioctl), ALLOW, CHECKS(IS(1, FIONBIO)), .reason = "os.set_blocking; socket.setblocking: asyncio's own pair"},
    {CALL(ioctl), ALLOW, CHECKS(IS(1, FIONREAD)), .reason = "bytes waiting in a pipe"},
    {CALL(ioctl), QUIET, ENOTTY, CHECKS(IS(1, TCGETS)), .reason = "os.isatty: nothing here is a terminal"},
    {CALL(ioctl), QUIET, ENOTTY, CHECKS(IS(1, TERMINAL_SETTINGS)), .reason = "os.isatty with glibc 2.42 (TCGETS2)"},
    {CALL(ioctl), QUIET, ENOTTY, CHECKS(IS(1, TIOCGWINSZ)), .reason = "os.get_terminal_size falls back"},
    {DETAIL(ioctl, 1), DENY, .reason = "devices and terminals cannot be controlled"},

    /* -- memory -- */
    {CALL(mmap), ALLOW, CHECKS(WITHOUT(3, RISKY_MAPPINGS)), .reason = "malloc, libraries, mmap"},
    {CALL(mprotect), ALLOW, CHECKS(ONLY(2, PROT_READ | PROT_WRITE | PROT_EXEC)), .reason = "malloc, thread stacks"},
    {CALL(munmap), ALLOW, .reason = "malloc"},
    {CALL(mremap), ALLOW, CHECKS(ONLY(3, MREMAP_MAYMOVE | MREMAP_FIXED)), .reason = "realloc"},
    {CALL(brk), ALLOW, .reason = "malloc; its failure would not be noticed"},
    {CALL(madvise), QUIET, EINVAL, .reason = "malloc keeps the pages for itself"},

    /* -- threads and processes -- */
    {CALL(clone), ALLOW, CHECKS(WHOLE(0, THREAD_FLAGS)), .reason = "threads"},
    {CALL(clone), ALLOW, CHECKS(WHOLE(0, FORK_FLAGS)), .reason = "os.fork, multiprocessing", .needs_processes = true},
    {CALL(clone), DENY, CHECKS(WHOLE(0, FORK_FLAGS)), .as = "fork", .reason = PROCESSES, .needs_processes = true},
    {DETAIL(clone, 0), DENY, CHECKS(WHOLE(0, SPAWN_FLAGS)), .as = "posix_spawn", .reason = PROGRAMS},
    {DETAIL(clone, 0), DENY, .reason = "new namespaces and unusual clones are refused; programs cannot be started"},
    {CALL(clone3), QUIET, ENOSYS, .reason = "its flags cannot be seen; glibc falls back to clone"},
    {CALL(wait4), ALLOW, .reason = "os.waitpid", .needs_processes = true},
    {CALL(exit), ALLOW, .reason = "end of a thread"},
    {CALL(exit_group), ALLOW, .reason = "end of a process"},
    {CALL(futex), ALLOW, CHECKS(BESIDES(1, FUTEX_OPTIONS, FUTEX_WAIT)), .reason = "a mutex that is held"},
    /* Shared wakes reach whoever maps the same file: other runs, where it is one of the root's. So they are for those
     * who may fork only; waiting for a shared one is how threads are joined (the kernel wakes). */
    {CALL(futex), ALLOW, CHECKS(IS(1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG)), .reason = "locks"},
    {CALL(futex), ALLOW, CHECKS(IS(1, FUTEX_WAKE)), .reason = "multiprocessing", .needs_processes = true},
    {CALL(futex), ALLOW, CHECKS(BESIDES(1, FUTEX_OPTIONS, FUTEX_WAIT_BITSET)),
     .reason = "semaphores: threading's locks; joining a thread"},
    {DETAIL(futex, 1), DENY, ENOSYS, .reason = "priority inheritance and requeueing are off"},
    {CALL(getpid), ALLOW, .reason = "os.getpid, raise()"},
    {CALL(kill), ASK,
     .reason = "os.kill of itself: PID 1 could not, and without a pid namespace others could be meant"},
    {CALL(tgkill), ASK, .reason = "abort(), raise(), signal.pthread_kill"},
    {CALL(prlimit64), ALLOW, CHECKS(IS(0, 0)), .reason = "resource.getrlimit of itself; limits only go down"},
    {CALL(rt_sigaction), ALLOW, .reason = "signal.signal"},
    {CALL(rt_sigprocmask), ALLOW, .reason = "threads, raise()"},
    {CALL(rt_sigreturn), ALLOW, .reason = "return from a handler"},
    {CALL(set_robust_list), QUIET, 0, .reason = "new threads; robust mutexes lose their owner's death"},
    {CALL(rseq), QUIET, ENOSYS, .reason = "glibc is told to do without (GLIBC_TUNABLES)"},
    {CALL(sched_yield), QUIET, 0, .reason = "spinning threads"},
    {CALL(membarrier), QUIET, ENOSYS, .reason = "libraries fall back"},
    {CALL(sigaltstack), QUIET, 0, .reason = "faulthandler: its handler runs on the thread's own stack"},

    /* -- what is asked of the system -- */
    {CALL(getuid), ANSWER, RUN_UID, .reason = "os.getuid"},
    {CALL(geteuid), ANSWER, RUN_UID, .reason = "os.geteuid, sqlite3"},
    {CALL(getgid), ANSWER, RUN_UID, .reason = "os.getgid"},
    {CALL(getegid), ANSWER, RUN_UID, .reason = "os.getegid"},
    {CALL(getgroups), QUIET, 0, .reason = "os.getgroups: there are none"},
    {CALL(umask), ANSWER, 022, .reason = "os.umask: stays as it is"},
    {CALL(gettid), ALLOW, .reason = "raise(), signal.pthread_kill, threading.get_native_id"},
    {CALL(getppid), QUIET, 0, .reason = "the first process of a pid namespace has parent 0"},
    {CALL(uname), ALLOW, .reason = "platform"},
    {CALL(getrandom), ALLOW, CHECKS(ONLY(2, GRND_NONBLOCK | GRND_RANDOM)), .reason = "os.urandom, hash seeds"},
    {CALL(clock_gettime), ALLOW, .reason = "time.thread_time; other clocks are in the vDSO"},
    {CALL(clock_nanosleep), ALLOW, .reason = "time.sleep"},
    {CALL(setitimer), ALLOW, CHECKS(IS(0, ITIMER_REAL)), .reason = "signal.alarm, signal.setitimer: timeouts"},
    {CALL(sched_getaffinity), ALLOW, CHECKS(IS(0, 0)), .reason = "os.cpu_count, ThreadPoolExecutor, joblib: its own"},
    {CALL(sched_getaffinity), QUIET, ENOSYS, CHECKS(OTHER(0, 0)),
     .reason = "pthread_getattr_np() asks by a thread's id: Python 3.14, std::thread"},
    {CALL(getrusage), ALLOW, .reason = "resource.getrusage: of itself and its children"},
    {CALL(sysinfo), QUIET, EPERM, .reason = "qsort() falls back"},
    {CALL(prctl), QUIET, EPERM, .reason = "thread names"},

    /* -- waiting -- */
    {CALL(poll), ALLOW, .reason = "select.poll, multiprocessing"},
    {CALL(ppoll), QUIET, ENOSYS, .reason = "select.poll from Python 3.15 on falls back to poll"},
    {CALL(pselect6), ALLOW, .reason = "select.select, time.sleep before 3.11"},
    {CALL(pidfd_open), QUIET, EPERM, .reason = "asyncio from Python 3.14 on waits by threads"},
    {CALL(epoll_create1), QUIET, ENOSYS, .reason = "selectors and libraries fall back to poll"},

    /* -- sockets: only connected pairs, only streams: a datagram could name another receiver -- */
    {CALL(socketpair), ALLOW, CHECKS(IS(0, AF_UNIX), BESIDES(1, SOCK_CLOEXEC | SOCK_NONBLOCK, SOCK_STREAM)),
     .reason = "asyncio, multiprocessing"},
    {DETAIL(socketpair, 0), DENY, .reason = "only stream pairs of AF_UNIX can be made"},
    {CALL(sendto), ALLOW, CHECKS(WITHOUT(3, RISKY_MESSAGES), WHOLE(4, 0)), .reason = "socket.send on a pair"},
    {CALL(recvfrom), ALLOW, CHECKS(WITHOUT(3, RISKY_MESSAGES)), .reason = "socket.recv on a pair"},
    {CALL(sendmsg), ALLOW, CHECKS(WITHOUT(2, RISKY_MESSAGES)),
     .reason = "our own control; descriptors in multiprocessing"},
    {CALL(recvmsg), ALLOW, CHECKS(WITHOUT(2, RISKY_MESSAGES)),
     .reason = "our own control; descriptors in multiprocessing"},

    /* -- honest programs ask and do without -- */
    {CALL(fsync), QUIET, 0, .reason = "a tmpfs has nothing to sync"},
    {CALL(fdatasync), QUIET, 0, .reason = "a tmpfs has nothing to sync"},
    {CALL(msync), QUIET, 0, .reason = "a tmpfs has nothing to sync"},
    {CALL(listxattr), QUIET, EOPNOTSUPP, .reason = "shutil.copy2 does without"},
    {CALL(llistxattr), QUIET, EOPNOTSUPP, .reason = "shutil.copy2 does without"},
    {CALL(flistxattr), QUIET, EOPNOTSUPP, .reason = "shutil.copy2 does without"},
    {CALL(getxattr), QUIET, EOPNOTSUPP, .reason = "file managers do without"},
    {CALL(lgetxattr), QUIET, EOPNOTSUPP, .reason = "file managers do without"},
    {CALL(fgetxattr), QUIET, EOPNOTSUPP, .reason = "file managers do without"},
    {CALL(statx), QUIET, ENOSYS, .reason = "libraries fall back to stat"},
    {CALL(faccessat2), QUIET, ENOSYS, .reason = "glibc falls back"},
    {CALL(faccessat), QUIET, EPERM, .reason = "os.access says no"},
    {CALL(close_range), QUIET, ENOSYS, .reason = "callers close one by one"},
    {CALL(copy_file_range), QUIET, ENOSYS, .reason = "shutil falls back to read and write"},
    {CALL(sendfile), QUIET, ENOSYS, .reason = "shutil falls back to read and write"},
    {CALL(fadvise64), QUIET, 0, .reason = "advice"},
    {CALL(fallocate), QUIET, EOPNOTSUPP, .reason = "glibc writes zeroes"},
    {CALL(fchmod), QUIET, EPERM, .reason = "sqlite3 goes on; use os.chmod with a path"},
    {CALL(dup3), QUIET, ENOSYS, .reason = "os.dup2 falls back"},
    {CALL(getsockname), QUIET, EPERM, .reason = "socket pairs have no name"},
    {CALL(getpeername), QUIET, EPERM, .reason = "socket pairs have no name"},
    {CALL(setsockopt), QUIET, EPERM, .reason = "socket pairs need none"},
    {CALL(getsockopt), QUIET, EPERM, .reason = "socket pairs need none"},
    {CALL(arch_prctl), QUIET, EINVAL, .reason = "libraries probe for shadow stacks"},
    {CALL(getcpu), QUIET, ENOSYS, .reason = "libraries fall back"},
    {CALL(mincore), QUIET, EPERM, .reason = "the page cache is shared with others"},
    {CALL(io_uring_setup), QUIET, ENOSYS, .reason = "libraries fall back"},
    {CALL(mbind), QUIET, EPERM, .reason = "numerical libraries go on"},
    {CALL(get_mempolicy), QUIET, EPERM, .reason = "numerical libraries go on"},
    {CALL(restart_syscall), QUIET, EINTR, .reason = "the kernel's own, after a stop"},

    /* -- denied, with what users read -- */
    {CALL(socket), QUIET, EPERM, CHECKS(IS(0, AF_UNIX), IS(1, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)),
     .reason = "glibc asks nscd for users and groups"},
    {DETAIL(socket, 0), DENY, .reason = NETWORK},
    {CALL(connect), DENY, .reason = NETWORK},
    {CALL(bind), DENY, .reason = NETWORK},
    {CALL(listen), DENY, .reason = NETWORK},
    {CALL(accept), DENY, .reason = NETWORK},
    {CALL(accept4), DENY, .reason = NETWORK},
    {CALL(shutdown), END, CHECKS(WHOLE(0, RUN_ENDS)), .reason = "the end of a run that has said all it had to say"},
    {CALL(shutdown), DENY, .reason = "close the socket instead"},
    {CALL(sendmmsg), DENY, .reason = NETWORK},
    {CALL(recvmmsg), DENY, .reason = NETWORK},
    {CALL(execve), DENY, .reason = PROGRAMS},
    {CALL(execveat), DENY, .reason = PROGRAMS},
    {CALL(vfork), DENY, .reason = PROGRAMS},
    {CALL(fork), DENY, .reason = "use os.fork"},
    {CALL(waitid), DENY, .reason = "use os.waitpid"},
    {CALL(ptrace), DENY, .reason = OTHERS},
    {CALL(process_vm_readv), DENY, .reason = OTHERS},
    {CALL(process_vm_writev), DENY, .reason = OTHERS},
    {CALL(process_madvise), DENY, .reason = OTHERS},
    {CALL(kcmp), DENY, .reason = OTHERS},
    {CALL(pidfd_getfd), DENY, .reason = OTHERS},
    {CALL(pidfd_send_signal), DENY, .reason = "use os.kill"},
    {CALL(tkill), DENY, .reason = "use os.kill or signal.pthread_kill"},
    {CALL(rt_sigqueueinfo), DENY, .reason = "use os.kill"},
    {CALL(rt_tgsigqueueinfo), DENY, .reason = "use os.kill"},
    {CALL(setpriority), DENY, .reason = "priorities are fixed"},
    {CALL(sched_setaffinity), DENY, .reason = "priorities are fixed"},
    {CALL(sched_setscheduler), DENY, .reason = "priorities are fixed"},
    {CALL(sched_setattr), DENY, .reason = "priorities are fixed"},
    {CALL(ioprio_set), DENY, .reason = "priorities are fixed"},
    {CALL(setpgid), DENY, .reason = "a run is one session"},
    {CALL(setsid), DENY, .reason = "a run is one session"},
    {CALL(times), DENY, .reason = "use time.process_time"},
    {CALL(clock_getres), DENY, .reason = "every clock here counts nanoseconds"},
    {CALL(rt_sigpending), DENY, .reason = "use signal.signal"},
    {CALL(rt_sigtimedwait), DENY, .reason = "use signal.signal and time.sleep"},
    {CALL(pause), DENY, .reason = "use signal.signal and time.sleep"},
    {CALL(alarm), DENY, .reason = "use signal.alarm or setitimer"},
    {CALL(setitimer), DENY, .reason = "of the timers only ITIMER_REAL can be set"},
    {CALL(getitimer), DENY, .reason = "signal.setitimer returns what was left"},
    {CALL(timer_create), DENY, .reason = "use signal.alarm"},
    {CALL(timerfd_create), DENY, .reason = "use time.sleep or asyncio.sleep"},
    {CALL(symlink), DENY, .reason = LINKS},
    {CALL(symlinkat), DENY, .reason = LINKS},
    {CALL(mknod), DENY, .reason = LINKS},
    {CALL(mknodat), DENY, .reason = LINKS},
    {CALL(chown), DENY, .reason = OWNERS},
    {CALL(fchown), DENY, .reason = OWNERS},
    {CALL(lchown), DENY, .reason = OWNERS},
    {CALL(fchownat), DENY, .reason = OWNERS},
    {CALL(truncate), DENY, .reason = "open the file and truncate it"},
    {CALL(fstatfs), DENY, .reason = "use os.statvfs with a path"},
    {CALL(splice), DENY, .reason = "use read and write"},
    {CALL(tee), DENY, .reason = "use read and write"},
    {CALL(vmsplice), DENY, .reason = "use read and write"},
    {CALL(memfd_create), QUIET, EPERM, CHECKS(IS(1, MFD_CLOEXEC)), .reason = "libffi, for ctypes, takes other memory"},
    {CALL(memfd_create), DENY, .reason = "use a file in /tmp: it is in memory"},
    {CALL(memfd_secret), DENY, .reason = KERNEL},
    {CALL(eventfd2), DENY, .reason = "use os.pipe"},
    {CALL(signalfd4), DENY, .reason = "use signal.signal"},
    {CALL(inotify_init1), DENY, .reason = "look at the files again: nobody else changes them"},
    {CALL(fanotify_init), DENY, .reason = KERNEL},
    {CALL(mlock), DENY, .reason = "memory cannot be locked"},
    {CALL(mlock2), DENY, .reason = "memory cannot be locked"},
    {CALL(mlockall), DENY, .reason = "memory cannot be locked"},
    {CALL(shmget), DENY, .reason = IPC},
    {CALL(semget), DENY, .reason = IPC},
    {CALL(msgget), DENY, .reason = IPC},
    {CALL(mq_open), DENY, .reason = IPC},
    {CALL(setuid), DENY, .reason = PRIVILEGE},
    {CALL(setgid), DENY, .reason = PRIVILEGE},
    {CALL(setreuid), DENY, .reason = PRIVILEGE},
    {CALL(setregid), DENY, .reason = PRIVILEGE},
    {CALL(setresuid), DENY, .reason = PRIVILEGE},
    {CALL(setresgid), DENY, .reason = PRIVILEGE},
    {CALL(setgroups), DENY, .reason = PRIVILEGE},
    {CALL(capset), DENY, .reason = PRIVILEGE},
    {CALL(chroot), DENY, .reason = MOUNTS},
    {CALL(mount), DENY, .reason = MOUNTS},
    {CALL(umount2), DENY, .reason = MOUNTS},
    {CALL(fsopen), DENY, .reason = MOUNTS},
    {CALL(open_tree), DENY, .reason = MOUNTS},
    {CALL(move_mount), DENY, .reason = MOUNTS},
    {CALL(mount_setattr), DENY, .reason = MOUNTS},
    {CALL(unshare), DENY, .reason = SPACES},
    {CALL(setns), DENY, .reason = SPACES},
    {CALL(sethostname), DENY, .reason = PRIVILEGE},
    {CALL(seccomp), DENY, .reason = KERNEL},
    {CALL(landlock_create_ruleset), DENY, .reason = KERNEL},
    {CALL(personality), DENY, .reason = KERNEL},
    {CALL(keyctl), DENY, .reason = KERNEL},
    {CALL(add_key), DENY, .reason = KERNEL},
    {CALL(request_key), DENY, .reason = KERNEL},
    {CALL(perf_event_open), DENY, .reason = KERNEL},
    {CALL(syslog), DENY, .reason = KERNEL},
    {CALL(quotactl), DENY, .reason = KERNEL},
    {CALL(acct), DENY, .reason = KERNEL},
    {CALL(settimeofday), DENY, .reason = CLOCK},
    {CALL(clock_settime), DENY, .reason = CLOCK},
    {CALL(adjtimex), DENY, .reason = CLOCK},
    {CALL(clock_adjtime), DENY, .reason = CLOCK},

    /* -- only an attack makes these -- */
    {CALL(bpf), KILL, .reason = KERNEL},
    {CALL(userfaultfd), KILL, .reason = KERNEL},
    {CALL(io_uring_enter), KILL, .reason = KERNEL},
    {CALL(io_uring_register), KILL, .reason = KERNEL},
    {CALL(open_by_handle_at), KILL, .reason = MOUNTS},
    {CALL(pivot_root), KILL, .reason = MOUNTS},
    {CALL(modify_ldt), KILL, .reason = KERNEL},
    {CALL(ioperm), KILL, .reason = PRIVILEGE},
    {CALL(iopl), KILL, .reason = PRIVILEGE},
    {CALL(init_module), KILL, .reason = PRIVILEGE},
    {CALL(finit_module), KILL, .reason = PRIVILEGE},
    {CALL(delete_module), KILL, .reason = PRIVILEGE},
    {CALL(kexec_load), KILL, .reason = PRIVILEGE},
    {CALL(kexec_file_load), KILL, .reason = PRIVILEGE},
    {CALL(reboot), KILL, .reason = PRIVILEGE},
    {CALL(swapon), KILL, .reason = PRIVILEGE},
    {CALL(swapoff), KILL, .reason = PRIVILEGE},
};
const size_t policy_call_count = COUNT(policy_calls);

bool policy_row_holds(const struct call_row *row, const struct seccomp_data *data)
{
    for (size_t i = 0; i < COUNT(row->check); i++) {
        const struct argument_check *check = &row->check[i];
        uint64_t mask = check->compare == ARG_MASKED ? check->mask : UINT64_MAX;
        bool equal = (data->args[check->index] & mask) == check->value;
        if (check->compare != ARG_ANY && equal == (check->compare == ARG_OTHER))
            return false;
    }
    return true;
}

/* ---- what can be used up ---- */

const struct rlimit_row policy_rlimits[] = {
    {RLIMIT_AS, "address space", LIMIT_MEMORY, .reason = "the interpreter's own comes on top"},
    {RLIMIT_CPU, "CPU", LIMIT_CPU, .reason = "seconds of one process, then SIGKILL"},
    {RLIMIT_NPROC, "processes", LIMIT_PROCESSES, .by_user = true, .reason = "threads count"},
    {RLIMIT_NOFILE, "files", LIMIT_OPEN_FILES, .reason = "descriptors of one process"},
    {RLIMIT_FSIZE, "file size", LIMIT_DISK, .reason = "no sparse files beyond the disk limit"},
    {RLIMIT_STACK, "stack", -1, 8 << 20, .reason = "of the main thread"},
    {RLIMIT_CORE, "core", -1, 0, .reason = "no core files"},
    {RLIMIT_MEMLOCK, "locked memory", -1, 0, .by_user = true, .reason = "nothing is pinned"},
    {RLIMIT_MSGQUEUE, "queues", -1, 0, .by_user = true, .reason = "no POSIX message queues"},
    {RLIMIT_SIGPENDING, "signals", -1, 64, .by_user = true, .reason = "queued signals are kernel memory"},
    {RLIMIT_RTPRIO, "rt", -1, 0, .reason = "no real-time priorities"},
    {RLIMIT_NICE, "nice", -1, 0, .reason = "no better priority"},
};
const size_t policy_rlimit_count = COUNT(policy_rlimits);

/* ---- names ---- */

const char *const engine_names[ENGINE_COUNT + 1] = {
    [ENGINE_CLONE] = "clone", [ENGINE_BUBBLEWRAP] = "bubblewrap", [ENGINE_NSJAIL] = "nsjail"};

const char *const layer_names[LAYER_COUNT] = {
    [LAYER_CGROUP] = "cgroup",     [LAYER_NAMESPACES] = "namespaces", [LAYER_ROOT] = "root",
    [LAYER_IDENTITY] = "identity", [LAYER_RLIMITS] = "rlimits",       [LAYER_LANDLOCK] = "landlock",
    [LAYER_SECCOMP] = "seccomp",   [LAYER_SUPERVISOR] = "supervisor",
};
