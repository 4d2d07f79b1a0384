/* The cgroup file systems' own formats: mountinfo, /proc/self/cgroup, and files of one number or of "key number" lines.
 * Trusts the kernel's text; owns no descriptor but those that cgroup_find() hands out. */
#include "cgroup_files.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LAYER "cgroup"

static const char *const controller_names[CONTROLLER_COUNT] = {"memory", "pids", "cpuacct", "cpu"};

const struct cgroup_file cgroup_files[FILE_COUNT] = {
    [FILE_MEMORY_LIMIT] = {"memory.limit_in_bytes", "memory.max", MEMORY, true},
    [FILE_SWAP_LIMIT] = {"memory.memsw.limit_in_bytes", "memory.swap.max", MEMORY, false},
    [FILE_MEMORY_USAGE] = {"memory.usage_in_bytes", "memory.current", MEMORY, false},
    [FILE_MEMORY_PEAK] = {"memory.max_usage_in_bytes", "memory.peak", MEMORY, false},
    [FILE_MEMORY_EVENTS] = {"memory.oom_control", "memory.events", MEMORY, true},
    [FILE_MEMORY_EMPTY] = {"memory.force_empty", "memory.reclaim", MEMORY, false},
    [FILE_OOM_GROUP] = {NULL, "memory.oom.group", MEMORY, true},
    [FILE_PIDS_LIMIT] = {"pids.max", "pids.max", PIDS, true},
    [FILE_PIDS_PEAK] = {"pids.peak", "pids.peak", PIDS, false},
    [FILE_PIDS_EVENTS] = {"pids.events", "pids.events", PIDS, true},
    [FILE_CPU_USAGE] = {"cpuacct.usage", "cpu.stat", CPUACCT, false},
};

int cgroup_write(int directory, const char *file, const char *text)
{
    auto_fd int fd = openat(directory, file, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

int cgroup_put(int fd, uint64_t value)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%" PRIu64, value);
    return fd < 0 || pwrite(fd, text, (size_t)length, 0) == length ? 0 : -1;
}

uint64_t cgroup_number(int fd, const char *key)
{
    char text[1024], *end;
    ssize_t size = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    if (size <= 0)
        return CGROUP_UNKNOWN;
    text[size] = 0;
    char *at = text;
    size_t length = key ? strlen(key) : 0;
    while (key && at && (strncmp(at, key, length) != 0 || at[length] != ' ')) {
        at = strchr(at, '\n');
        at += at ? 1 : 0;
    }
    if (!at)
        return CGROUP_UNKNOWN;
    errno = 0;
    uint64_t value = strtoull(at + length, &end, 10);
    return end == at + length || errno ? CGROUP_UNKNOWN : value;
}

/* The list of who is in it, or NULL. */
static FILE *open_members(int directory)
{
    int fd = openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *members = fd < 0 ? NULL : fdopen(fd, "r");
    if (!members)
        drop_fd(&fd);
    return members;
}

void cgroup_move_all(int from, const char *leaf, int to)
{
    char line[32];
    auto_fd int directory = openat(from, leaf, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FILE *members = directory < 0 ? NULL : open_members(directory);
    while (members && fgets(line, sizeof line, members))
        cgroup_write(to, "cgroup.procs", line);
    if (members)
        fclose(members);
}

int cgroup_kill_all(int directory)
{
    char line[32];
    int count = 0;
    /* v2, Linux 5.14: all at once, also those that are being forked. */
    bool killed = cgroup_write(directory, "cgroup.kill", "1") == 0;
    FILE *members = open_members(directory);
    if (!members)
        return -1;
    while (fgets(line, sizeof line, members)) {
        pid_t pid = (pid_t)atol(line);
        if (!killed && pid > 1)
            kill(pid, SIGKILL);
        count++;
    }
    fclose(members);
    return count;
}

void cgroup_describe(const struct hierarchy *hierarchies, int count, bool v2, char *text, size_t size)
{
    size_t length = (size_t)snprintf(text, size, "%s", v2 ? "v2" : "v1");
    const char *before = ": ";
    for (int id = 0; id < CONTROLLER_COUNT; id++) {
        for (int i = 0; i < count && length < size; i++) {
            if (!(hierarchies[i].controllers & CONTROLLER_BIT(id)) || (v2 && id == CPUACCT))
                continue;
            length += (size_t)snprintf(text + length, size - length, "%s%s", before, controller_names[id]);
            before = ", ";
        }
    }
    if (hierarchies[0].climbed && length < size)
        snprintf(text + length, size - length, "; in %s", hierarchies[0].path);
}

/* Whether a list with this separator has the word. */
static bool has_word(const char *list, const char *word, char separator)
{
    size_t length = strlen(word);
    for (const char *at = list; at; at = strchr(at, separator), at += at ? 1 : 0) {
        if (strncmp(at, word, length) == 0 && (at[length] == separator || at[length] == '\n' || !at[length]))
            return true;
    }
    return false;
}

/* One line of /proc/self/cgroup, "4:memory:/path": the path if it is the one of this v1 controller (NULL: of v2). */
static bool own_cgroup(const char *controller, char path[PATH_MAX])
{
    char line[PATH_MAX + 128];
    bool found = false;
    FILE *lines = fopen("/proc/self/cgroup", "re");
    while (lines && !found && fgets(line, sizeof line, lines)) {
        char *names = strchr(line, ':'), *at = names ? strchr(names + 1, ':') : NULL;
        if (!at)
            continue;
        *at++ = 0;
        at[strcspn(at, "\n")] = 0;
        found = controller ? has_word(names + 1, controller, ',') : strcmp(line, "0:") == 0;
        if (found)
            snprintf(path, PATH_MAX, "%s", at);
    }
    if (lines)
        fclose(lines);
    return found;
}

struct mounted {
    char root[PATH_MAX], point[PATH_MAX];
};

/* Undoes mountinfo's octal escapes (\040) in place. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        if (from[0] == '\\' && from[1] && from[2] && from[3]) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = 0;
}

/* Finds the mount of a v1 controller (NULL: of v2) in /proc/self/mountinfo:
 * "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu" */
static bool find_mount(const char *controller, struct mounted *mounted)
{
    char line[3 * PATH_MAX], type[32], options[512];
    bool found = false;
    FILE *lines = fopen("/proc/self/mountinfo", "re");
    while (lines && !found && fgets(line, sizeof line, lines)) {
        char *rest = strstr(line, " - ");
        if (!rest || sscanf(rest, " - %31s %*s %511s", type, options) != 2 ||
            sscanf(line, "%*s %*s %*s %4095s %4095s", mounted->root, mounted->point) != 2)
            continue;
        found = controller ? strcmp(type, "cgroup") == 0 && has_word(options, controller, ',')
                           : strcmp(type, "cgroup2") == 0;
    }
    if (lines)
        fclose(lines);
    if (found) {
        unescape(mounted->root);
        unescape(mounted->point);
    }
    return found;
}

/* Opens our own cgroup in the mount. In a container the mount's root may be our cgroup already. */
static int open_base(const char *controller, struct hierarchy *hierarchy, struct fault *fault)
{
    struct mounted mounted;
    char path[PATH_MAX], full[2 * PATH_MAX];
    if (!find_mount(controller, &mounted) || !own_cgroup(controller, path))
        return fault_set(fault, LAYER, "find", ENOENT, "%s", controller ? controller : "cgroup2");
    size_t length = strcmp(mounted.root, "/") == 0 ? 0 : strlen(mounted.root);
    bool inside = strncmp(path, mounted.root, length) == 0 && (path[length] == '/' || !path[length]);
    const char *within = inside && strcmp(path + length, "/") != 0 ? path + length : "";
    snprintf(full, sizeof full, "%s%s", mounted.point, within);
    snprintf(hierarchy->path, sizeof hierarchy->path, "%.150s", full);
    hierarchy->own = -1;
    hierarchy->base = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    if (hierarchy->base < 0 || fstat(hierarchy->base, &status))
        return fault_set(fault, LAYER, "open", errno, "%s", full);
    hierarchy->device = status.st_dev;
    return 0;
}

static int find_v1(struct hierarchy *hierarchies, struct fault *fault)
{
    int count = 0;
    for (int id = 0; id < CONTROLLER_COUNT; id++) {
        struct hierarchy one = {.controllers = CONTROLLER_BIT(id)};
        struct fault missing;
        bool needed = id == MEMORY || id == PIDS;
        if (open_base(controller_names[id], &one, needed ? fault : &missing)) {
            if (!needed)
                continue;
            while (count > 0)
                drop_fd(&hierarchies[--count].base);
            return -1;
        }
        int same = 0;
        while (same < count && hierarchies[same].device != one.device)
            same++;
        if (same < count) { /* mounted together, as cpu,cpuacct usually are */
            hierarchies[same].controllers |= one.controllers;
            drop_fd(&one.base);
        } else {
            hierarchies[count++] = one;
        }
    }
    return count;
}

static bool has_controllers(struct hierarchy *hierarchy)
{
    char text[512] = "";
    const uint32_t needed = CONTROLLER_BIT(MEMORY) | CONTROLLER_BIT(PIDS);
    auto_fd int fd = openat(hierarchy->base, "cgroup.controllers", O_RDONLY | O_CLOEXEC);
    hierarchy->controllers = CONTROLLER_BIT(CPUACCT); /* cpu.stat is always there */
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        return false;
    for (int id = 0; id < CONTROLLER_COUNT; id++)
        hierarchy->controllers |= has_word(text, controller_names[id], ' ') ? CONTROLLER_BIT(id) : 0;
    return (hierarchy->controllers & needed) == needed;
}

/* base becomes the directory above. Returns 0, or -1 at the mount's top. */
static int step_up(struct hierarchy *hierarchy)
{
    struct stat status;
    char *slash = strrchr(hierarchy->path, '/');
    auto_fd int above = openat(hierarchy->base, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0 || !slash || fstat(above, &status) || status.st_dev != hierarchy->device)
        return -1;
    *slash = 0;
    drop_fd(&hierarchy->base);
    hierarchy->base = take_fd(&above);
    return 0;
}

int cgroup_climb(struct hierarchy *hierarchy)
{
    do {
        if (step_up(hierarchy))
            return -1;
        hierarchy->climbed = true;
    } while (!has_controllers(hierarchy));
    return 0;
}

static int find_v2(struct hierarchy *hierarchy, struct fault *fault)
{
    *hierarchy = (struct hierarchy){0};
    if (open_base(NULL, hierarchy, fault))
        return -1;
    if (has_controllers(hierarchy) || cgroup_climb(hierarchy) == 0)
        return 1;
    fault_set(fault, LAYER, "find", ENOENT, "memory and pids in %s/cgroup.controllers", hierarchy->path);
    drop_fd(&hierarchy->base);
    return -1;
}

int cgroup_find(struct hierarchy hierarchies[HIERARCHIES_MOST], bool *v2, struct fault *fault)
{
    struct fault of_v2;
    *v2 = false;
    int count = find_v1(hierarchies, fault);
    if (count > 0)
        return count;
    count = find_v2(&hierarchies[0], &of_v2);
    *v2 = count > 0;
    return count;
}

/* ---- bounds ---- */

static uint64_t number_in(int directory, const char *file, const char *key)
{
    auto_fd int fd = openat(directory, file, O_RDONLY | O_CLOEXEC);
    return cgroup_number(fd, key);
}

/* v2's "200000 100000": a quota in a period, or "max 100000". */
static void read_cpu_max(int directory, uint64_t *quota, uint64_t *period)
{
    char text[64];
    auto_fd int fd = openat(directory, "cpu.max", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[size > 0 ? size : 0] = 0;
    if (sscanf(text, "%" SCNu64 " %" SCNu64, quota, period) != 2)
        *quota = CGROUP_UNKNOWN;
}

void cgroup_lower_bounds(int directory, struct cgroup_bounds *bounds)
{
    static const char *const memory[] = {"memory.max", "memory.limit_in_bytes"};
    static const char *const usage[] = {"memory.current", "memory.usage_in_bytes"};
    static const char *const cache[] = {"inactive_file", "total_inactive_file"};
    uint64_t quota, period, processes = number_in(directory, "pids.max", NULL);
    bounds->processes = processes < bounds->processes ? processes : bounds->processes;
    for (size_t i = 0; i < COUNT(memory); i++) {
        uint64_t bytes = number_in(directory, memory[i], NULL); /* CGROUP_UNKNOWN for "max", too */
        bounds->memory_bytes = bytes < bounds->memory_bytes ? bytes : bounds->memory_bytes;
        uint64_t used = number_in(directory, usage[i], NULL), cached = number_in(directory, "memory.stat", cache[i]);
        if (bytes == CGROUP_UNKNOWN || used == CGROUP_UNKNOWN)
            continue;
        used -= cached < used ? cached : 0;
        uint64_t left = used < bytes ? bytes - used : 0;
        bounds->memory_left_bytes = left < bounds->memory_left_bytes ? left : bounds->memory_left_bytes;
    }
    read_cpu_max(directory, &quota, &period);
    if (quota == CGROUP_UNKNOWN) {
        quota = number_in(directory, "cpu.cfs_quota_us", NULL); /* -1, which is CGROUP_UNKNOWN: none */
        period = number_in(directory, "cpu.cfs_period_us", NULL);
    }
    if (quota > UINT64_MAX / 1000 || period == 0 || period == CGROUP_UNKNOWN)
        return;
    uint64_t thousandths = quota * 1000 / period;
    bounds->cpu_thousandths = thousandths < bounds->cpu_thousandths ? thousandths : bounds->cpu_thousandths;
}

struct cgroup_bounds cgroup_own_bounds(void)
{
    static const char *const controllers[] = {"memory", "cpu", "pids", NULL};
    struct cgroup_bounds bounds = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < COUNT(controllers); i++) {
        struct hierarchy own = {.base = -1};
        struct fault none;
        if (open_base(controllers[i], &own, &none) == 0) {
            do
                cgroup_lower_bounds(own.base, &bounds);
            while (step_up(&own) == 0);
        }
        drop_fd(&own.base);
    }
    return bounds;
}
