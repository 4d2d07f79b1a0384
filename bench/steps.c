/* Counts what a running process does, of one thread: steps instructions|calls PID
 *
 * By single steps, or by stops at system calls (ptrace(2)); until SIGTERM, when it lets go and prints the number. Slow,
 * but exact, and of the process as it is, with its sandbox closed around it, where valgrind cannot work. Needs
 * CAP_SYS_PTRACE: our processes cannot be traced by their own users. */
#include "figures.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

static volatile sig_atomic_t told_to_stop;

static void on_term(int number)
{
    (void)number;
    told_to_stop = 1;
}

/* Waits for the process's next stop. Its signal, with ptrace's event above it, or 0 when we were told to stop. */
static int next_stop(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, __WALL) != pid) {
        if (errno != EINTR)
            fail("waitpid", NULL);
        if (told_to_stop)
            return 0;
    }
    if (!WIFSTOPPED(status)) {
        errno = 0;
        fail("the process has ended", NULL);
    }
    return status >> 8;
}

/* Only what has stopped can be let go; and a step that was interrupted has left a SIGTRAP behind, which would end it.
 */
static void let_go(pid_t pid, bool stopped)
{
    struct __ptrace_peeksiginfo_args one = {.nr = 1};
    siginfo_t left;
    told_to_stop = 0;
    if (!stopped && ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0)
        next_stop(pid);
    if (ptrace(PTRACE_PEEKSIGINFO, pid, &one, &left) == 1 && ptrace(PTRACE_CONT, pid, NULL, NULL) == 0)
        next_stop(pid);
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

int main(int argc, char **argv)
{
    static const struct sigaction term = {.sa_handler = on_term}; /* not restarted: waitpid() is to end */
    bool steps = argc == 3 && strcmp(argv[1], "instructions") == 0;
    unsigned long long count = 0;
    if (argc != 3 || (!steps && strcmp(argv[1], "calls") != 0))
        fail("steps instructions|calls PID", NULL);
    pid_t pid = (pid_t)option_number("PID", argv[2], 1);
    sigaction(SIGTERM, &term, NULL);
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACESYSGOOD) || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL))
        fail("cannot trace", argv[2]);
    int stop;
    while ((stop = next_stop(pid)) && !told_to_stop) {
        int signal = stop == (SIGTRAP | 0x80) || stop == SIGTRAP || stop >> 8 ? 0 : stop;
        count += steps ? stop == SIGTRAP : stop == (SIGTRAP | 0x80);
        if (ptrace(steps ? PTRACE_SINGLESTEP : PTRACE_SYSCALL, pid, NULL, (void *)(long)signal))
            fail("ptrace", argv[2]);
    }
    let_go(pid, stop);
    printf("{\"%s\":%llu}\n", argv[1], steps ? count : count / 2); /* a call stops at both its ends */
    return 0;
}
