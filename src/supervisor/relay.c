#include "relay.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum {
    PIPE_BYTES = 256 * 1024, /* of lines that wait for their reader */
    GATHER_MS = 5,           /* how long after some the next are left to gather: each time we are woken costs a run */
    LAST_WORDS_MS = 2000,
    LIVED_US = 1000000,
    RETRY_US = 200000,
    RETRY_LATER_US = 2000000,
    FAILURES_SOON = 5,
};

/* ---- in the relay ---- */

static void give_up_rights(void)
{
    static const int calls[] = {SCMP_SYS(read),  SCMP_SYS(write),      SCMP_SYS(poll),
                                SCMP_SYS(ppoll), SCMP_SYS(exit_group), SCMP_SYS(restart_syscall)};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    prctl(PR_SET_NAME, "safe-script-log");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (syscall(SYS_capset, &header, none))
        _exit(1);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    for (size_t i = 0; i < COUNT(calls); i++) {
        if (!filter || seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0))
            _exit(1);
    }
    if (seccomp_load(filter))
        _exit(1);
}

/* Waits where the destination is non-blocking. What cannot be written for another reason is dropped. */
static void write_all(int fd, const char *bytes, ssize_t length)
{
    while (length > 0) {
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        ssize_t written = write(fd, bytes, (size_t)length);
        if (written < 0 && errno != EAGAIN && errno != EINTR)
            return;
        if (written < 0)
            poll(&room, 1, -1);
        bytes += written > 0 ? written : 0;
        length -= written > 0 ? written : 0;
    }
}

static void __attribute__((noreturn)) serve(const struct relay *relay)
{
    static char lines[64 * 1024];
    dup2(relay->source, STDIN_FILENO);
    dup2(relay->destination, STDOUT_FILENO);
    closefrom(STDERR_FILENO); /* among them the pipe's other end */
    give_up_rights();
    for (ssize_t length; (length = read(STDIN_FILENO, lines, sizeof lines)) != 0;) {
        write_all(STDOUT_FILENO, lines, length);
        poll(NULL, 0, length < (ssize_t)sizeof lines ? GATHER_MS : 0);
    }
    _exit(0);
}

/* ---- in the supervisor ---- */

static int start(struct relay *relay, uint64_t now_us, struct fault *fault)
{
    relay->pid = (pid_t)syscall(SYS_clone, 0UL, NULL, NULL, NULL, NULL);
    if (relay->pid == 0)
        serve(relay);
    relay->started_us = now_us;
    if (relay->pid > 0 && (relay->pidfd = (int)syscall(SYS_pidfd_open, relay->pid, 0)) >= 0)
        return 0;
    return fault_set(fault, "log", relay->pid < 0 ? "clone" : "pidfd_open", errno, "the relay");
}

/* Ends what there is of it. */
static void stop(struct relay *relay)
{
    drop_fd(&relay->pidfd);
    if (relay->pid > 0) {
        kill(relay->pid, SIGKILL);
        waitpid(relay->pid, NULL, __WCLONE);
    }
    relay->pid = 0;
}

static void restore(struct relay *relay)
{
    dup2(relay->destination, STDERR_FILENO);
    drop_fd(&relay->destination);
    drop_fd(&relay->source);
}

int relay_open(struct relay *relay, uint64_t now_us, struct fault *fault)
{
    int ends[2];
    *relay = (struct relay){.pidfd = -1, .source = -1, .destination = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)};
    if (relay->destination < 0 || pipe2(ends, O_CLOEXEC)) {
        drop_fd(&relay->destination);
        return fault_set(fault, "log", "pipe2", errno, "the relay's");
    }
    auto_fd int writing = ends[1];
    relay->source = ends[0];
    fcntl(writing, F_SETPIPE_SZ, PIPE_BYTES); /* it may be less */
    if (fcntl(writing, F_SETFL, O_NONBLOCK) == 0 && dup2(writing, STDERR_FILENO) >= 0 &&
        start(relay, now_us, fault) == 0)
        return 0;
    stop(relay);
    restore(relay);
    return -1;
}

void relay_lost(struct relay *relay, uint64_t now_us)
{
    relay->failures = now_us - relay->started_us > LIVED_US ? 0 : relay->failures + 1;
    relay->retry_us = now_us + (relay->failures == 0 ? 0 : relay->failures < FAILURES_SOON ? RETRY_US : RETRY_LATER_US);
    stop(relay);
}

uint64_t relay_due(const struct relay *relay)
{
    return relay->pid > 0 || relay->source < 0 ? UINT64_MAX : relay->retry_us;
}

int relay_again(struct relay *relay, uint64_t now_us, struct fault *fault)
{
    if (start(relay, now_us, fault) == 0)
        return 0;
    relay_lost(relay, now_us);
    return -1;
}

void relay_close(struct relay *relay)
{
    struct pollfd end = {.fd = relay->pidfd, .events = POLLIN};
    if (relay->source < 0)
        return;
    restore(relay); /* the last writing end */
    if (relay->pid > 0)
        poll(&end, 1, LAST_WORDS_MS);
    stop(relay);
}
