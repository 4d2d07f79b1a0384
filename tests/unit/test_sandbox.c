/* sandbox.c: each of our processes in its sandbox tries what somebody would who has broken into it. Every attempt is
 * made in a child of its own; the same attempt is first made without the sandbox, so that none is a blank. */
#include "support.h"

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char room[] = "/tmp/test-sandbox-XXXXXX", file[64], outside[64];
static int room_fd = -1;
static pid_t parent;

/* ---- attempts: 0 when the kernel let it pass ---- */

static int read_file(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0;
}

static int write_outside(void)
{
    return open(outside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0;
}

static int write_in_room(void)
{
    return openat(room_fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0;
}

static int rename_out(void)
{
    return write_in_room() || renameat(room_fd, "file", AT_FDCWD, outside);
}

static int make_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0;
}

static int make_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0;
}

static int make_pair(void)
{
    int pair[2];
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
}

static int clone_with(unsigned long flags)
{
    long pid = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
    if (pid == 0)
        syscall(SYS_exit_group, 0);
    if (pid > 0)
        waitpid((pid_t)pid, NULL, __WALL);
    return pid < 0;
}

static int fork_child(void)
{
    return clone_with(SIGCHLD);
}

static int clone_copy(void)
{
    return clone_with(0);
}

static int new_namespace(void)
{
    return clone_with(CLONE_NEWUSER | SIGCHLD);
}

static int old_fork(void)
{
#ifdef SYS_fork
    long pid = syscall(SYS_fork);
    if (pid == 0)
        syscall(SYS_exit_group, 0);
    return pid < 0;
#else
    return clone_with(SIGCHLD);
#endif
}

static int run_program(void)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    execve("/bin/true", argv, NULL);
    return 1;
}

static int trace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0;
}

static int read_memory(void)
{
    char byte = 1, copy;
    struct iovec to = {&copy, 1}, from = {&byte, 1};
    return process_vm_readv(getpid(), &to, 1, &from, 1, 0) != 1;
}

static int signal_parent(void)
{
    return kill(parent, 0);
}

static int signal_all(void)
{
    return kill(-1, 0);
}

static int signal_thread_of_parent(void)
{
    return syscall(SYS_tgkill, parent, parent, 0) != 0;
}

static int signal_self(void)
{
    return syscall(SYS_tgkill, getpid(), getpid(), 0) != 0;
}

static int map_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static int make_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED || mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int own_signals(void)
{
    return fcntl(room_fd, F_SETOWN, getpid()) == -1;
}

/* With the upper half of the argument set, which the kernel does not look at. */
static int own_signals_high(void)
{
    return syscall(SYS_fcntl, room_fd, UINT64_C(0xffffffff00000000) | F_SETOWN, getpid()) == -1;
}

static int change_uid(void)
{
    return syscall(SYS_setresuid, -1, -1, -1) != 0;
}

static int change_mode(void)
{
    return fchmod(room_fd, 0700);
}

static int read_limit(void)
{
    struct rlimit limit;
    return syscall(SYS_prlimit64, parent, RLIMIT_NOFILE, NULL, &limit) != 0;
}

static int leave_root(void)
{
    return chroot("/nonexistent") && errno != ENOENT;
}

static int mount_something(void)
{
    return mount("none", "/nonexistent", "tmpfs", 0, NULL) && errno != ENOENT;
}

static int unshare_nothing(void)
{
    return unshare(0);
}

enum fate { PASSES, REFUSED, ENDED };

static const struct {
    const char *name;
    int (*try)(void);
    enum fate front, client, supervisor;
    bool landlock; /* it is what refuses */
    bool root;     /* only root could do it in the first place */
    bool tls;      /* the TLS process may, where the front may not */
    bool place;    /* a chroot, a container or a sysctl may refuse it, too */
} attempts[] = {
    {"reads a file", read_file, REFUSED, REFUSED, PASSES},
    {"makes a file", write_outside, REFUSED, REFUSED, REFUSED, .landlock = true},
    {"makes a file in its room", write_in_room, REFUSED, REFUSED, PASSES},
    {"moves a file out of its room", rename_out, REFUSED, REFUSED, REFUSED, .landlock = true},
    {"makes a socket", make_socket, REFUSED, REFUSED, REFUSED},
    {"makes a Unix socket", make_unix_socket, REFUSED, REFUSED, PASSES},
    {"makes a pair of sockets", make_pair, REFUSED, REFUSED, PASSES, .tls = true},
    {"forks", fork_child, REFUSED, REFUSED, REFUSED},
    {"copies itself without an exit signal", clone_copy, REFUSED, REFUSED, PASSES},
    {"forks into a user namespace", new_namespace, REFUSED, REFUSED, REFUSED, .place = true},
    {"forks by the old call", old_fork, ENDED, ENDED, ENDED},
    {"starts a program", run_program, ENDED, ENDED, ENDED},
    {"traces", trace, ENDED, ENDED, ENDED},
    {"reads memory", read_memory, ENDED, ENDED, ENDED},
    {"signals another process", signal_parent, REFUSED, REFUSED, PASSES},
    {"signals everybody", signal_all, REFUSED, REFUSED, REFUSED},
    {"signals another's thread", signal_thread_of_parent, REFUSED, REFUSED, REFUSED},
    {"signals itself", signal_self, PASSES, PASSES, PASSES},
    {"maps code", map_code, REFUSED, REFUSED, REFUSED},
    {"makes data code", make_code, REFUSED, REFUSED, REFUSED},
    {"asks for signals", own_signals, REFUSED, REFUSED, REFUSED},
    {"asks for signals, upper half", own_signals_high, REFUSED, REFUSED, REFUSED},
    {"changes its uid", change_uid, REFUSED, REFUSED, REFUSED},
    {"changes a mode", change_mode, REFUSED, REFUSED, REFUSED},
    {"reads another's limits", read_limit, REFUSED, REFUSED, REFUSED},
    {"changes its root", leave_root, ENDED, ENDED, ENDED, .root = true},
    {"mounts", mount_something, ENDED, ENDED, ENDED, .root = true},
    {"unshares", unshare_nothing, ENDED, ENDED, ENDED},
};

static int enter_supervisor(struct fault *fault)
{
    const struct sandbox_room rooms[] = {{room_fd, ROOM_ALL}};
    return sandbox_supervisor(0, rooms, 1, fault);
}

/* Returns what became of one attempt: 100 where the sandbox could not be entered. */
static int outcome(int (*enter)(struct fault *fault), int (*try)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct fault fault;
        if (enter && enter(&fault))
            _exit(100);
        _exit(try() == 0 ? PASSES : REFUSED);
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    unlink(outside);
    unlink(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status) == SIGSYS ? ENDED : 1000 + WTERMSIG(status);
}

static void expect(const char *who, const char *what, int seen, enum fate right)
{
    static const char *const fates[] = {"passes", "is refused", "is ended"};
    if (seen != (int)right)
        fail_msg("the %s %s: it should be that it %s, got %d", who, what, fates[right], seen);
}

static void test_each_attempt(void **state)
{
    (void)state;
    bool has_landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1U) > 0;
    for (size_t i = 0; i < COUNT(attempts); i++) {
        const char *name = attempts[i].name;
        int free = outcome(NULL, attempts[i].try);
        if ((!attempts[i].root || geteuid() == 0) && !(attempts[i].place && free == REFUSED))
            expect("unconfined", name, free, PASSES);
        expect("front", name, outcome(sandbox_front, attempts[i].try), attempts[i].front);
        expect("TLS process", name, outcome(sandbox_tls, attempts[i].try),
               attempts[i].tls ? PASSES : attempts[i].front);
        expect("client", name, outcome(sandbox_client, attempts[i].try), attempts[i].client);
        if (has_landlock || !attempts[i].landlock)
            expect("supervisor", name, outcome(enter_supervisor, attempts[i].try), attempts[i].supervisor);
    }
}

#ifdef __x86_64__
static int x32_call(void)
{
    return syscall(0x40000000 | SYS_getpid) < 0;
}

static void test_another_architecture_s_calls_end_it(void **state)
{
    (void)state;
    expect("front", "calls as x32", outcome(sandbox_front, x32_call), ENDED);
    expect("TLS process", "calls as x32", outcome(sandbox_tls, x32_call), ENDED);
    expect("client", "calls as x32", outcome(sandbox_client, x32_call), ENDED);
    expect("supervisor", "calls as x32", outcome(enter_supervisor, x32_call), ENDED);
}
#endif

static int open_room(void **state)
{
    (void)state;
    parent = getpid();
    if (!mkdtemp(room) || (room_fd = open(room, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return -1;
    snprintf(file, sizeof file, "%s/file", room);
    snprintf(outside, sizeof outside, "%s-outside", room);
    return 0;
}

static int close_room(void **state)
{
    (void)state;
    close(room_fd);
    return rmdir(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_attempt),
#ifdef __x86_64__
        cmocka_unit_test(test_another_architecture_s_calls_end_it),
#endif
    };
    return cmocka_run_group_tests(tests, open_room, close_room);
}
