/* Faults that no test can make for real without harm to the machine, preloaded (LD_PRELOAD) into a server under test:
 * into its supervisor, the starter and the log's relay, which are one program; the front and the zygote are begun with
 * an environment of their own. A file that the test maps as well (TEST_FAULTS) says which fault is on. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static struct faults {
    int64_t clock_s;   /* what the machine's clock is put forward by */
    uint64_t cgroups;  /* 1: their file systems are read-only, as after mount -o remount,ro */
    uint64_t refusals; /* counted for the test */
} none, *faults = &none;

static void __attribute__((constructor)) begin(void)
{
    const char *path = getenv("TEST_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED)
        faults = page;
    if (fd >= 0)
        close(fd);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* ---- the clock ---- */

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = REAL(clock_gettime)(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += faults->clock_s;
    return result;
}

time_t time(time_t *to)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to)
        *to = now.tv_sec;
    return now.tv_sec;
}

/* ---- cgroups ---- */

static int is_closed(int fd)
{
    struct statfs system;
    if (!faults->cgroups || fd <= STDERR_FILENO || fstatfs(fd, &system) != 0 || /* the relay may not even ask */
        (system.f_type != CGROUP_SUPER_MAGIC && system.f_type != CGROUP2_SUPER_MAGIC))
        return 0;
    __atomic_add_fetch(&faults->refusals, 1, __ATOMIC_RELAXED);
    errno = EROFS;
    return 1;
}

int mkdirat(int directory, const char *path, mode_t mode)
{
    return is_closed(directory) ? -1 : REAL(mkdirat)(directory, path, mode);
}

int unlinkat(int directory, const char *path, int flags)
{
    return is_closed(directory) ? -1 : REAL(unlinkat)(directory, path, flags);
}

int openat64(int directory, const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return (flags & O_ACCMODE) != O_RDONLY && is_closed(directory) ? -1 : REAL(openat64)(directory, path, flags, mode);
}

int __openat64_2(int directory, const char *path, int flags);
int __openat64_2(int directory, const char *path, int flags) /* as _FORTIFY_SOURCE calls it */
{
    return openat64(directory, path, flags);
}

/* What is open for writing already keeps a real remount from happening; here it fails as well. */
ssize_t write(int fd, const void *bytes, size_t length)
{
    return is_closed(fd) ? -1 : REAL(write)(fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
    return is_closed(fd) ? -1 : REAL(pwrite64)(fd, bytes, length, at);
}
