#include "clone.h"

#include "scope.h"

#include <dirent.h>
#include <errno.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* glibc keeps the thread's id in its thread descriptor and believes it for ever: owner checks of mutexes and raise()
 * use it. The kernel writes the clone's id there (CLONE_CHILD_SETTID), as glibc's own fork() has it do. */
static pid_t *tid_address;

/* The list of robust mutexes that are held: a clone starts without one. */
static void *robust_head;
static size_t robust_size;

static pid_t own_tid(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* PR_GET_TID_ADDRESS needs CONFIG_CHECKPOINT_RESTORE. Without it: the id is an int in struct pthread; which one it is
 * shows in a forked child, where glibc has set it anew. */
enum { DESCRIPTOR_INTS = 254, NOT_FOUND = 255 };

static pid_t *tid_by_search(void)
{
    pid_t *ints = (pid_t *)pthread_self(), own = own_tid();
    int status = 0;
    pid_t pid = fork();
    if (pid < 0)
        return NULL;
    if (pid == 0) {
        for (int i = 0; i < DESCRIPTOR_INTS; i++) {
            if (ints[i] == own_tid())
                _exit(i);
        }
        _exit(NOT_FOUND);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    int found = WIFEXITED(status) ? WEXITSTATUS(status) : NOT_FOUND;
    return found != NOT_FOUND && ints[found] == own ? &ints[found] : NULL;
}

/* glibc aborts a process whose first thread has a restartable sequence area and where a new thread is refused one, as
 * the jail does. So ours gives it back: glibc then does without. The size has to be the one that glibc registered. */
static void leave_rseq(void)
{
#ifdef RSEQ_SIG
    void *area = (char *)__builtin_thread_pointer() + __rseq_offset;
    const unsigned sizes[] = {32, __rseq_size, (__rseq_size + 31) & ~31U};
    for (size_t i = 0; __rseq_size && i < COUNT(sizes); i++) {
        if (syscall(SYS_rseq, area, sizes[i], RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0)
            return;
    }
#endif
}

int clone_prepare(struct fault *fault)
{
    leave_rseq();
    if (prctl(PR_GET_TID_ADDRESS, &tid_address, 0, 0, 0) || !tid_address || *tid_address != own_tid())
        tid_address = tid_by_search();
    if (!tid_address)
        return fault_set(fault, "zygote", "thread id", 0, "glibc's copy of the thread id was not found");
    if (syscall(SYS_get_robust_list, 0, &robust_head, &robust_size))
        robust_head = NULL;
    return 0;
}

/* Threads by /proc, where there is one; 0 where there is none. */
static size_t threads_by_proc(void)
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks)
        return 0;
    for (struct dirent *entry; (entry = readdir(tasks));)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

int clone_check_threads(size_t python_threads, struct fault *fault)
{
    size_t count = threads_by_proc();
    /* unshare(CLONE_THREAD) does nothing in a process with one thread and is EINVAL in others. Where a filter refuses
     * it, and there is no /proc, Python's own count has to do. */
    bool more = unshare(CLONE_THREAD) && errno == EINVAL;
    if (more || count > 1 || python_threads > 1)
        return fault_set(fault, "zygote", "threads", 0,
                         "an import has started threads; a warm interpreter with threads cannot be cloned");
    return 0;
}

static long clone_legacy(uint64_t flags, int *pidfd)
{
#ifdef __x86_64__
    return syscall(SYS_clone, flags, NULL, pidfd, tid_address, 0);
#else /* CONFIG_CLONE_BACKWARDS: arm64, riscv, … */
    return syscall(SYS_clone, flags, NULL, pidfd, 0, tid_address);
#endif
}

pid_t clone_run(uint64_t flags, int cgroup, int *pidfd)
{
    struct clone_args arguments = {
        .flags = flags | CLONE_PARENT | CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
        .pidfd = (uintptr_t)pidfd,
        .child_tid = (uintptr_t)tid_address,
    };
    if (cgroup >= 0) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)cgroup;
    }
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    /* Docker's seccomp profile answers ENOSYS to clone3, whose arguments it cannot see. */
    if (pid < 0 && errno == ENOSYS && cgroup < 0)
        pid = clone_legacy(arguments.flags, pidfd);
    if (pid == 0 && robust_head)
        syscall(SYS_set_robust_list, robust_head, robust_size);
    return (pid_t)pid;
}
