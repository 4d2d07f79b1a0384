/* Cgroups, v1 and v2 behind one interface (cgroup.h). Only the supervisor is here; it trusts the kernel's files and
 * nobody else writes in our directories: a run sees no cgroup file system.
 *
 * Our directory, "safe-script-<pid>", lies below the cgroup that we were started in, so that limits of the host's apply
 * to all of us. We hold a lock (flock) on it; one that nobody holds is a dead server's and is removed. A server in
 * another pid namespace may have our pid, and so the name: then ours is "safe-script-<pid>-<n>".
 *
 * v2 gives controllers only to children of a cgroup without processes (cgroups(7), "no internal processes"; the real
 * root is exempt). If we are alone in ours, as in a service of systemd's with Delegate=yes or as a container's first
 * process, we move into a leaf. If we are not, as in a login's session, our directory lies in the nearest cgroup above
 * that we may use; what the host limits in between then holds for the server, not for its runs.
 *
 * A slot's cgroup is kept and reused: an emptied memory cgroup lives on invisibly while pages of files that it was the
 * first to read stay cached, so a new one for each run would pile them up. Counters that the kernel can reset are
 * reset, event counters are read as differences; a highest number of processes cannot be reset, so the pids cgroup (on
 * v2 the whole) is made anew after a run that had more than one. */
#include "cgroup.h"

#include "cgroup_files.h"
#include "layers.h"
#include "scope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define LAYER  "cgroup"
#define PREFIX "safe-script-"
#define LEAF   "server" /* v2: processes and controllers for children cannot be in one cgroup */

enum { OWN_TAKEN = 1, NAMES_MOST = 64, LOCK_TRIES = 50 };

struct cgroups {
    struct hierarchy hierarchies[HIERARCHIES_MOST];
    int count;
    bool v2;
    bool moved;    /* v2: we are in LEAF and have switched controllers on above it */
    unsigned next; /* number of the next slot */
    char name[32];
    char description[120];
};

struct cgroup {
    struct cgroups *all;
    char name[16];
    int directory[HIERARCHIES_MOST], procs[HIERARCHIES_MOST];
    int file[FILE_COUNT];
    uint64_t memory; /* the limit that is set */
    uint64_t cpu_before, oom_before, fork_before;
    uint64_t pids_peak, memory_peak, forks_refused; /* when it was last asked; nothing that has died changes them */
    int oom_event;
    bool used;
};

/* ---- the hierarchy ---- */

static void remove_slot(int own, const char *name)
{
    auto_fd int slot = openat(own, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (slot >= 0 && strcmp(name, LEAF) != 0)
        cgroup_kill_all(slot);
    unlinkat(own, name, AT_REMOVEDIR);
}

/* Removes one of our directories, this server's or a dead one's, and ends what still runs in its slots. What has not
 * died yet keeps it there (EBUSY). */
static void remove_own(const struct hierarchy *hierarchy, const char *name)
{
    int own = openat(hierarchy->base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *entries = own < 0 ? NULL : fdopendir(own);
    if (!entries) {
        drop_fd(&own);
        return;
    }
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            remove_slot(own, entry->d_name);
    }
    closedir(entries);
    unlinkat(hierarchy->base, name, AT_REMOVEDIR);
}

/* Not a cgroup of somebody who named it so, as "safe-script-tests": all in it would be killed. */
static bool is_name(const char *name, pid_t *pid)
{
    static const char digits[] = "0123456789";
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
        return false;
    const char *rest = name + strlen(PREFIX);
    *pid = (pid_t)strtol(rest, NULL, 10);
    rest += strspn(rest, digits);
    if (*rest == '-' && rest[1])
        rest += 1 + strspn(rest + 1, digits);
    return *pid > 0 && !*rest;
}

/* The directory, and its lock, of a server that is dead; -1 where it is none. */
static int open_abandoned(const struct hierarchy *hierarchy, const char *name)
{
    struct stat status;
    struct timespec now;
    pid_t pid;
    if (!is_name(name, &pid))
        return -1;
    auto_fd int own = openat(hierarchy->base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (own < 0 || flock(own, LOCK_EX | LOCK_NB) || fstat(own, &status) || clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    /* Another server makes its directory and then locks it; give it time in between, unless it is dead for sure. */
    bool dead = (kill(pid, 0) && errno == ESRCH) || now.tv_sec - status.st_mtim.tv_sec > 2;
    return dead ? take_fd(&own) : -1;
}

static void remove_abandoned(const struct hierarchy *hierarchy)
{
    int base = fcntl(hierarchy->base, F_DUPFD_CLOEXEC, 0);
    DIR *entries = base < 0 ? NULL : fdopendir(base);
    if (!entries) {
        drop_fd(&base);
        return;
    }
    rewinddir(entries); /* the duplicate shares its offset */
    for (struct dirent *entry; (entry = readdir(entries));) {
        auto_fd int locked = open_abandoned(hierarchy, entry->d_name);
        if (locked >= 0)
            remove_own(hierarchy, entry->d_name);
    }
    closedir(entries);
}

/* Who has just made a directory may meet one who looks whether it is abandoned; who finds it there, its owner. */
static int lock_own(int own, bool fresh)
{
    int tries = fresh ? LOCK_TRIES : 1;
    while (flock(own, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK || --tries == 0)
            return -1;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return 0;
}

/* Returns 0, -1 with *fault, or OWN_TAKEN where another server has the name; what is there is then not ours. */
static int make_own(struct cgroups *cgroups, struct hierarchy *hierarchy, struct fault *fault)
{
    struct stat locked, named;
    remove_abandoned(hierarchy);
    bool fresh = mkdirat(hierarchy->base, cgroups->name, 0755) == 0;
    if (!fresh && errno != EEXIST) /* in containers, pids come back */
        return fault_set(fault, LAYER, "mkdir", errno, "%s/%s", hierarchy->path, cgroups->name);
    auto_fd int own = openat(hierarchy->base, cgroups->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0 || lock_own(own, fresh))
        return errno == ENOENT || errno == EWOULDBLOCK
                   ? OWN_TAKEN
                   : fault_set(fault, LAYER, "flock", errno, "%s/%s", hierarchy->path, cgroups->name);
    /* Before we had the lock it may have been taken for a dead server's: one of another pid namespace cannot tell. */
    if (fstat(own, &locked) || fstatat(hierarchy->base, cgroups->name, &named, AT_SYMLINK_NOFOLLOW) ||
        locked.st_ino != named.st_ino)
        return OWN_TAKEN;
    hierarchy->own = take_fd(&own);
    return 0;
}

/* v2: what children need; CPU shares are welcome, and left alone where others have not switched them on. */
static int switch_on(const char *directory_path, int directory, uint32_t *controllers, struct fault *fault)
{
    if (cgroup_write(directory, "cgroup.subtree_control", "+memory +pids"))
        return fault_set(fault, LAYER, "write", errno, "%s/cgroup.subtree_control", directory_path);
    if ((*controllers & CONTROLLER_BIT(CPU)) && cgroup_write(directory, "cgroup.subtree_control", "+cpu"))
        *controllers &= ~CONTROLLER_BIT(CPU);
    return 0;
}

/* v2: controllers are switched on for children from the top down. */
static int delegate(struct cgroups *cgroups, struct hierarchy *hierarchy, struct fault *fault)
{
    if (switch_on(hierarchy->path, hierarchy->base, &hierarchy->controllers, fault)) {
        if (fault->error != EBUSY || hierarchy->climbed)
            return -1;
        if ((mkdirat(hierarchy->own, LEAF, 0755) && errno != EEXIST) ||
            cgroup_write(hierarchy->own, LEAF "/cgroup.procs", "0"))
            return fault_set(fault, LAYER, "move", errno, "%s/%s/" LEAF, hierarchy->path, cgroups->name);
        cgroups->moved = true;
        if (switch_on(hierarchy->path, hierarchy->base, &hierarchy->controllers, fault))
            return -1;
    }
    return switch_on(cgroups->name, hierarchy->own, &hierarchy->controllers, fault);
}

/* v2: the way back out of delegate(), so that LEAF can go. The log's relay is in it as well, and outlives us. */
static void move_back(struct cgroups *cgroups)
{
    struct hierarchy *hierarchy = &cgroups->hierarchies[0];
    cgroup_write(hierarchy->own, "cgroup.subtree_control", "-memory -pids -cpu");
    cgroup_write(hierarchy->base, "cgroup.subtree_control", "-memory -pids -cpu");
    cgroup_move_all(hierarchy->own, LEAF, hierarchy->base);
    cgroups->moved = false;
}

/* The first refusal is the one to tell: above, an ordinary user is refused for another reason. */
static int prepare_v2(struct cgroups *cgroups, struct fault *fault)
{
    struct hierarchy *hierarchy = &cgroups->hierarchies[0];
    struct fault above, *told = fault;
    int made;
    while ((made = make_own(cgroups, hierarchy, told)) || delegate(cgroups, hierarchy, told)) {
        if (made == OWN_TAKEN)
            return made;
        if (cgroups->moved)
            move_back(cgroups);
        drop_fd(&hierarchy->own);
        if (made == 0)
            remove_own(hierarchy, cgroups->name);
        if (cgroup_climb(hierarchy))
            return -1;
        told = &above;
    }
    return 0;
}

static int prepare_v1(struct cgroups *cgroups, struct fault *fault)
{
    int made = 0;
    for (int i = 0; i < cgroups->count && made == 0; i++)
        made = make_own(cgroups, &cgroups->hierarchies[i], fault);
    return made;
}

static int prepare(struct cgroups *cgroups, struct fault *fault)
{
    const struct hierarchy *first = &cgroups->hierarchies[0];
    snprintf(cgroups->name, sizeof cgroups->name, PREFIX "%d", getpid());
    for (int n = 1; n <= NAMES_MOST; n++) {
        int made = cgroups->v2 ? prepare_v2(cgroups, fault) : prepare_v1(cgroups, fault);
        if (made != OWN_TAKEN)
            return made;
        for (int i = 0; i < cgroups->count; i++) {
            if (cgroups->hierarchies[i].own >= 0)
                remove_own(&cgroups->hierarchies[i], cgroups->name);
            drop_fd(&cgroups->hierarchies[i].own);
        }
        snprintf(cgroups->name, sizeof cgroups->name, PREFIX "%d-%d", getpid(), n);
    }
    return fault_set(fault, LAYER, "flock", EWOULDBLOCK, "%s/" PREFIX "%d and %d more", first->path, getpid(),
                     NAMES_MOST - 1);
}

struct cgroups *cgroups_open(struct fault *fault)
{
    struct cgroups *cgroups = calloc(1, sizeof *cgroups);
    if (!cgroups) {
        fault_set(fault, LAYER, "calloc", ENOMEM, "cgroups");
        return NULL;
    }
    cgroups->count = cgroup_find(cgroups->hierarchies, &cgroups->v2, fault);
    if (cgroups->count < 0) {
        free(cgroups);
        return NULL;
    }
    if (prepare(cgroups, fault)) {
        cgroups_close(cgroups);
        return NULL;
    }
    cgroup_describe(cgroups->hierarchies, cgroups->count, cgroups->v2, cgroups->description,
                    sizeof cgroups->description);
    return cgroups;
}

void cgroups_close(struct cgroups *cgroups)
{
    if (!cgroups)
        return;
    if (cgroups->moved)
        move_back(cgroups);
    for (int i = 0; i < cgroups->count; i++) {
        struct hierarchy *hierarchy = &cgroups->hierarchies[i];
        /* The kernel takes the last process out of its cgroup a moment after it was reaped. */
        for (int tries = 0; hierarchy->own >= 0 && tries < 50; tries++) {
            remove_own(hierarchy, cgroups->name);
            if (faccessat(hierarchy->base, cgroups->name, F_OK, 0))
                break;
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        }
        drop_fd(&hierarchy->own);
        drop_fd(&hierarchy->base);
    }
    free(cgroups);
}

_Static_assert((int)HIERARCHIES_MOST <= (int)CGROUPS_MOST, "a caller's array has room");

size_t cgroups_bases(const struct cgroups *cgroups, int bases[CGROUPS_MOST])
{
    for (int i = 0; i < cgroups->count; i++)
        bases[i] = cgroups->hierarchies[i].base;
    return (size_t)cgroups->count;
}

const char *cgroups_describe(const struct cgroups *cgroups)
{
    return cgroups->description;
}

/* ---- one slot's ---- */

static void close_files(struct cgroup *cgroup, int which)
{
    uint32_t controllers = cgroup->all->hierarchies[which].controllers;
    drop_fd(&cgroup->directory[which]);
    drop_fd(&cgroup->procs[which]);
    for (int i = 0; i < FILE_COUNT; i++) {
        if (controllers & CONTROLLER_BIT(cgroup_files[i].controller))
            drop_fd(&cgroup->file[i]);
    }
}

static int open_files(struct cgroup *cgroup, int which, struct fault *fault)
{
    static const int modes[] = {O_RDWR, O_RDONLY, O_WRONLY};
    /* v1: a thread that moves itself alone waits for nobody; for a whole process all forks of the machine are held up,
     * and it for them. A clone has one thread. */
    const char *procs = cgroup->all->v2 ? "cgroup.procs" : "tasks";
    struct hierarchy *hierarchy = &cgroup->all->hierarchies[which];
    if (mkdirat(hierarchy->own, cgroup->name, 0755) && errno != EEXIST)
        return fault_set(fault, LAYER, "mkdir", errno, "%s/%s", hierarchy->path, cgroup->name);
    int directory = openat(hierarchy->own, cgroup->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cgroup->directory[which] = directory;
    cgroup->procs[which] = openat(directory, procs, O_WRONLY | O_CLOEXEC);
    if (directory < 0 || cgroup->procs[which] < 0)
        return fault_set(fault, LAYER, "open", errno, "%s/%s/%s", hierarchy->path, cgroup->name, procs);
    for (int i = 0; i < FILE_COUNT; i++) {
        const struct cgroup_file *file = &cgroup_files[i];
        const char *name = cgroup->all->v2 ? file->v2 : file->v1;
        if (!name || !(hierarchy->controllers & CONTROLLER_BIT(file->controller)))
            continue;
        /* The kernel lets not even root open a file for what it does not do. */
        for (size_t mode = 0; mode < COUNT(modes) && cgroup->file[i] < 0; mode++)
            cgroup->file[i] = openat(directory, name, modes[mode] | O_CLOEXEC);
        if (cgroup->file[i] < 0 && file->needed)
            return fault_set(fault, LAYER, "open", errno, "%s/%s/%s", hierarchy->path, cgroup->name, name);
    }
    return 0;
}

/* cgroup-v1/memory.rst, "Memory thresholds": "<eventfd> <descriptor of memory.oom_control>". */
static void open_oom_event(struct cgroup *cgroup)
{
    char text[32];
    int memory = cgroup->file[FILE_MEMORY_EVENTS];
    for (int i = 0; i < cgroup->all->count && !cgroup->all->v2; i++) {
        auto_fd int control = openat(cgroup->directory[i], "cgroup.event_control", O_WRONLY | O_CLOEXEC);
        auto_fd int event = control < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        int length = snprintf(text, sizeof text, "%d %d", event, memory);
        if (event >= 0 && write(control, text, (size_t)length) == length)
            cgroup->oom_event = take_fd(&event);
    }
}

uint64_t cgroups_memory(const struct cgroups *cgroups)
{
    const struct cgroup_file *file = &cgroup_files[FILE_MEMORY_USAGE];
    for (int i = 0; i < cgroups->count; i++) {
        const struct hierarchy *hierarchy = &cgroups->hierarchies[i];
        if (!(hierarchy->controllers & CONTROLLER_BIT(MEMORY)))
            continue;
        auto_fd int fd = openat(hierarchy->own, cgroups->v2 ? file->v2 : file->v1, O_RDONLY | O_CLOEXEC);
        uint64_t bytes = fd < 0 ? CGROUP_UNKNOWN : cgroup_number(fd, NULL);
        return bytes == CGROUP_UNKNOWN ? 0 : bytes;
    }
    return 0;
}

struct cgroup *cgroup_new(struct cgroups *cgroups, struct fault *fault)
{
    struct cgroup *cgroup = calloc(1, sizeof *cgroup);
    if (!cgroup) {
        fault_set(fault, LAYER, "calloc", ENOMEM, "cgroup");
        return NULL;
    }
    cgroup->all = cgroups;
    cgroup->oom_event = -1;
    snprintf(cgroup->name, sizeof cgroup->name, "%u", cgroups->next++);
    for (int i = 0; i < HIERARCHIES_MOST; i++)
        cgroup->directory[i] = cgroup->procs[i] = -1;
    for (int i = 0; i < FILE_COUNT; i++)
        cgroup->file[i] = -1;
    for (int i = 0; i < cgroups->count; i++) {
        if (open_files(cgroup, i, fault)) {
            cgroup_free(cgroup);
            return NULL;
        }
    }
    open_oom_event(cgroup);
    return cgroup;
}

int cgroup_oom_event(const struct cgroup *cgroup)
{
    return cgroup->oom_event;
}

void cgroup_free(struct cgroup *cgroup)
{
    if (!cgroup)
        return;
    drop_fd(&cgroup->oom_event);
    for (int i = 0; i < cgroup->all->count; i++) {
        close_files(cgroup, i);
        unlinkat(cgroup->all->hierarchies[i].own, cgroup->name, AT_REMOVEDIR);
    }
    free(cgroup);
}

static int set_memory(struct cgroup *cgroup, uint64_t bytes, struct fault *fault)
{
    int limit = cgroup->file[FILE_MEMORY_LIMIT], swap = cgroup->file[FILE_SWAP_LIMIT];
    if (cgroup->memory == bytes)
        return 0;
    /* v1: memory and swap together may never be less than memory alone, so raising goes the other way round. */
    bool refused = cgroup_put(limit, bytes) != 0;
    if ((swap >= 0 && cgroup_put(swap, cgroup->all->v2 ? 0 : bytes)) || (refused && cgroup_put(limit, bytes)))
        return fault_set(fault, LAYER, "write", errno, "memory limit %" PRIu64, bytes);
    cgroup->memory = bytes;
    return 0;
}

static int set_limits(struct cgroup *cgroup, const struct limits *limits, struct fault *fault)
{
    if (set_memory(cgroup, limits->value[LIMIT_MEMORY], fault))
        return -1;
    /* Always: what has become read-only meanwhile must be seen. */
    if (cgroup_put(cgroup->file[FILE_PIDS_LIMIT], limits->value[LIMIT_PROCESSES]))
        return fault_set(fault, LAYER, "write", errno, "pids.max %" PRIu64, limits->value[LIMIT_PROCESSES]);
    return 0;
}

/* Makes the cgroup of one hierarchy anew. */
static int renew(struct cgroup *cgroup, int which, struct fault *fault)
{
    struct hierarchy *hierarchy = &cgroup->all->hierarchies[which];
    close_files(cgroup, which);
    if (unlinkat(hierarchy->own, cgroup->name, AT_REMOVEDIR) && errno != ENOENT)
        return fault_set(fault, LAYER, "rmdir", errno, "%s/%s", hierarchy->path, cgroup->name);
    if (hierarchy->controllers & CONTROLLER_BIT(MEMORY))
        cgroup->memory = 0;
    if (hierarchy->controllers & CONTROLLER_BIT(PIDS))
        cgroup->forks_refused = 0;
    return open_files(cgroup, which, fault);
}

static int renew_used(struct cgroup *cgroup, struct fault *fault)
{
    bool many = cgroup->pids_peak > 1;
    /* Since Linux 6.12 a write resets memory.peak for this descriptor. v1 always could. */
    bool stuck = cgroup_put(cgroup->file[FILE_MEMORY_PEAK], 0) != 0;
    for (int i = 0; i < cgroup->all->count; i++) {
        uint32_t controllers = cgroup->all->hierarchies[i].controllers;
        if (((many && (controllers & CONTROLLER_BIT(PIDS))) || (stuck && cgroup->all->v2)) && renew(cgroup, i, fault))
            return -1;
    }
    return 0;
}

static uint64_t or_zero(uint64_t value)
{
    return value == CGROUP_UNKNOWN ? 0 : value;
}

int cgroup_reset(struct cgroup *cgroup, const struct limits *limits, struct fault *fault)
{
    /* Cached pages of an earlier run would be charged to the next one's peak. */
    if (cgroup->used && cgroup->memory_peak > CGROUP_RESIDUE &&
        or_zero(cgroup_number(cgroup->file[FILE_MEMORY_USAGE], NULL)) > CGROUP_RESIDUE)
        (void)cgroup_put(cgroup->file[FILE_MEMORY_EMPTY], cgroup->all->v2 ? CGROUP_RECLAIM : 0);
    if (cgroup->used && renew_used(cgroup, fault))
        return -1;
    cgroup->used = false;
    if (set_limits(cgroup, limits, fault))
        return -1;
    if (cgroup->all->v2 && cgroup_put(cgroup->file[FILE_OOM_GROUP], 1))
        return fault_set(fault, LAYER, "write", errno, "memory.oom.group");
    cgroup->cpu_before = or_zero(cgroup_number(cgroup->file[FILE_CPU_USAGE], cgroup->all->v2 ? "usage_usec" : NULL));
    cgroup->oom_before = or_zero(cgroup_number(cgroup->file[FILE_MEMORY_EVENTS], "oom_kill"));
    cgroup->fork_before = cgroup->forks_refused;
    return 0;
}

int cgroup_lower(struct cgroup *cgroup, const struct limits *limits, struct fault *fault)
{
    return set_limits(cgroup, limits, fault);
}

int cgroup_clone_fd(const struct cgroup *cgroup)
{
    /* The zygote would need write permission on this cgroup and on the one above (cgroups(7), delegation). An ordinary
     * user's zygote has it; root's has another uid, and is not given it: the supervisor attaches. */
    return cgroup->all->v2 && geteuid() != 0 ? cgroup->directory[0] : -1;
}

_Static_assert((int)HIERARCHIES_MOST <= (int)CGROUP_PROCS, "a caller's array has room");

int cgroup_procs_fds(const struct cgroup *cgroup, int fds[CGROUP_PROCS])
{
    for (int i = 0; i < cgroup->all->count; i++)
        fds[i] = cgroup->procs[i];
    return cgroup->all->count;
}

int cgroup_attach(struct cgroup *cgroup, pid_t pid, struct fault *fault)
{
    char text[16];
    int length = snprintf(text, sizeof text, "%d", pid);
    cgroup->used = true;
    for (int i = 0; i < cgroup->all->count; i++) {
        if (pwrite(cgroup->procs[i], text, (size_t)length, 0) != length)
            return fault_set(fault, LAYER, "attach", errno, "%d to %s", pid, cgroup->all->hierarchies[i].path);
    }
    return 0;
}

int cgroup_usage(struct cgroup *cgroup, struct cgroup_usage *usage, struct fault *fault)
{
    uint64_t cpu = cgroup_number(cgroup->file[FILE_CPU_USAGE], cgroup->all->v2 ? "usage_usec" : NULL);
    uint64_t ooms = cgroup_number(cgroup->file[FILE_MEMORY_EVENTS], "oom_kill");
    uint64_t refused = cgroup_number(cgroup->file[FILE_PIDS_EVENTS], "max");
    cgroup->used = true; /* a clone into it is not seen here */
    if (ooms == CGROUP_UNKNOWN || refused == CGROUP_UNKNOWN)
        return fault_set(fault, LAYER, "read", errno, "events of cgroup %s", cgroup->name);
    uint64_t spent = cpu == CGROUP_UNKNOWN ? 0 : cpu - cgroup->cpu_before;
    cgroup->pids_peak = or_zero(cgroup_number(cgroup->file[FILE_PIDS_PEAK], NULL));
    cgroup->memory_peak = cgroup_number(cgroup->file[FILE_MEMORY_PEAK], NULL); /* CGROUP_UNKNOWN is the most */
    cgroup->forks_refused = refused;
    *usage = (struct cgroup_usage){
        .cpu_us = cgroup->all->v2 ? spent : spent / 1000,
        .memory_peak_bytes = or_zero(cgroup->memory_peak),
        .processes_peak = cgroup->pids_peak,
        .oom_kills = (uint32_t)(ooms - cgroup->oom_before),
        .fork_denied = (uint32_t)(refused - cgroup->fork_before),
    };
    return 0;
}

static int kill_within(struct cgroup *cgroup, int milliseconds, struct fault *fault)
{
    int which = 0;
    while (which + 1 < cgroup->all->count && !(cgroup->all->hierarchies[which].controllers & CONTROLLER_BIT(PIDS)))
        which++;
    for (int tries = 0; tries < milliseconds; tries++) {
        if (cgroup_kill_all(cgroup->directory[which]) == 0)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return fault_set(fault, LAYER, "kill", EBUSY, "cgroup %s", cgroup->name);
}

int cgroup_kill(struct cgroup *cgroup, struct fault *fault)
{
    return kill_within(cgroup, 100, fault);
}

/* ---- the layer's probe ---- */

static int try_one(struct cgroups *cgroups, const struct limits *limits, struct fault *fault)
{
    struct cgroup_usage usage;
    int ready[2];
    char byte;
    struct cgroup *cgroup = cgroup_new(cgroups, fault);
    if (!cgroup || cgroup_reset(cgroup, limits, fault))
        return -1;
    if (pipe2(ready, O_CLOEXEC))
        return fault_set(fault, LAYER, "pipe2", errno, "a child");
    pid_t pid = fork();
    if (pid < 0)
        return fault_set(fault, LAYER, "fork", errno, "a child");
    if (pid == 0) {
        close(ready[1]);
        (void)!read(ready[0], &byte, 1);
        _exit(0);
    }
    /* On a busy machine it takes a while until who is killed comes to run, and so to die. */
    int result = cgroup_attach(cgroup, pid, fault) || cgroup_lower(cgroup, limits, fault) ||
                 cgroup_usage(cgroup, &usage, fault) || kill_within(cgroup, PROBE_SECONDS * 1000, fault);
    close(ready[1]);
    close(ready[0]);
    waitpid(pid, NULL, 0);
    cgroup_free(cgroup);
    return result ? -1 : 0;
}

int cgroup_probe(struct jail_plan *plan, struct layer_report *report)
{
    /* The kernel lets a run of another uid join by a file that root has opened, or one of its own uid. */
    if (geteuid() != 0 && identity_may(CAP_SETUID))
        return fault_set(&report->fault, "cgroup", "join", EACCES, "runs have other uids than the server's %u",
                         geteuid());
    struct cgroups *cgroups = cgroups_open(&report->fault);
    if (!cgroups)
        return -1;
    int result = try_one(cgroups, &plan->limits, &report->fault);
    snprintf(report->how, sizeof report->how, "%s", cgroups_describe(cgroups));
    cgroups_close(cgroups);
    return result;
}
