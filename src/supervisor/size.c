/* How many jails and runs this machine carries: by its cores, its memory and the descriptors that we may have. */
#include "engine.h"

#include "cgroup_files.h"
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/sysinfo.h>

/* Three quarters of the memory that is ours to use: the machine's, or a container's. */
static uint64_t memory_available(const struct cgroup_bounds *bounds)
{
    struct sysinfo info;
    uint64_t machine = sysinfo(&info) ? UINT64_MAX : (uint64_t)info.totalram * info.mem_unit;
    return (machine < bounds->memory_bytes ? machine : bounds->memory_bytes) / 4 * 3;
}

/* Cores' worth of time that is ours to use, at least one. */
/* Of a cgroup, and where all runs are of one user, of that. */
static uint64_t processes_available(const struct engine *engine, const struct cgroup_bounds *bounds)
{
    struct rlimit limit;
    bool shared = !engine->plan.supervisor_maps && !engine->plan.run_sets_ids;
    if (!shared || getrlimit(RLIMIT_NPROC, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return bounds->processes;
    return limit.rlim_cur < bounds->processes ? limit.rlim_cur : bounds->processes;
}

static uint64_t cores_available(const struct cgroup_bounds *bounds, unsigned cores)
{
    uint64_t quota = bounds->cpu_thousandths / 1000 + (bounds->cpu_thousandths % 1000 > 0);
    return quota < 1 ? 1 : quota < cores ? quota : cores;
}

/* Descriptors here: of a jail (its pipes and sockets, its cgroup's files), of a queued run (its memfds), and our own.
 */
enum { JAIL_FDS = 26, QUEUED_FDS = 2, OWN_FDS = 64 };

/* Jails that wait for bursts, at the most where nobody has said how many, and so that they take some hundredth of the
 * memory: one has less than a MiB of its own. */
enum { POOL_CHOSEN = 64, POOL_SHARE = 64 << 20 };

static uint64_t raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur;
}

/* Of clones, which are small, the default environment has more, for bursts; but not where places for runs would be
 * fewer for it. */
static uint64_t choose_pool(const struct engine *engine, uint64_t cores, uint64_t jails)
{
    uint64_t least = cores * POOL_STEADY_PER_CORE, most = cores * 16 < POOL_CHOSEN ? cores * 16 : POOL_CHOSEN;
    uint64_t left = jails > engine->concurrency ? jails - engine->concurrency : 0;
    most = most < left / 2 ? most : left / 2;
    most = most < engine->processes_usable / 4 ? most : engine->processes_usable / 4;
    most = most < engine->memory_usable / POOL_SHARE ? most : engine->memory_usable / POOL_SHARE;
    most = most < jails / 8 ? most : jails / 8;
    return engine->plan.engine != ENGINE_CLONE || most < least ? least : most;
}

/* A half of what there may be of jails at the most is for the pools together: the default one's first, the tiers' last.
 */
static uint64_t size_pools(struct engine *engine, const struct settings *settings, uint64_t cores, uint64_t jails,
                           uint64_t most)
{
    uint64_t all = 0, usual = settings->pool ? settings->pool : choose_pool(engine, cores, jails);
    uint64_t other = settings->pool ? (settings->pool + 1) / 2 : cores * 2;
    for (int tiers = 0; tiers < 2; tiers++) {
        for (size_t i = 0; i < engine->environment_count; i++) {
            struct environment *environment = &engine->environments[i];
            uint64_t pool = environment->pool_wanted ? environment->pool_wanted : i ? other : usual;
            uint64_t left = most - all;
            if ((environment->larger != NULL) != tiers)
                continue;
            environment->pool = pool <= left ? pool : left;
            all += environment->pool;
        }
    }
    return all;
}

/* Makes pools, runs and queue fit the descriptors that we may have; what a person asked for is lowered with a word. */
static void fit_open_files(struct engine *engine, struct settings *settings, uint64_t cores, uint64_t files,
                           uint64_t jails)
{
    uint64_t wanted = size_pools(engine, settings, cores, jails, UINT64_MAX),
             before = engine->concurrency + wanted + settings->queue;
    uint64_t pools = wanted > jails / 4 ? size_pools(engine, settings, cores, jails, jails / 4) : wanted;
    if (engine->concurrency > jails - pools)
        engine->concurrency = jails - pools;
    if (settings->queue > (files - OWN_FDS) / 2 / QUEUED_FDS)
        settings->queue = (files - OWN_FDS) / 2 / QUEUED_FDS;
    if (before != engine->concurrency + pools + settings->queue)
        log_event(LOG_WARNING, "open files are few: raise ulimit -n for more", log_number("files", files),
                  log_number("pool", engine->environments[ENVIRONMENT_DEFAULT].pool),
                  log_number("concurrency", engine->concurrency), log_number("queue", settings->queue));
}

static const struct limits *default_limits(const struct settings *settings)
{
    for (size_t i = 0; i < settings->environment_count; i++) {
        if (strcmp(settings->environments[i].name, "default") == 0)
            return &settings->environments[i].limits;
    }
    return &settings->limits;
}

int engine_size(struct engine *engine, struct settings *settings, struct fault *fault)
{
    uint64_t files = raise_open_files();
    uint64_t jails = files < OWN_FDS + QUEUED_FDS ? 0 : (files - OWN_FDS) / 2 / JAIL_FDS;
    if (jails < 4)
        return fault_set(fault, "supervisor", "open files", EMFILE, "%" PRIu64 " are allowed; at least %d are needed",
                         files, OWN_FDS + 8 * JAIL_FDS);
    cpu_set_t ours;
    engine->cores = sched_getaffinity(0, sizeof ours, &ours) ? 1 : (unsigned)CPU_COUNT(&ours);
    struct cgroup_bounds bounds = cgroup_own_bounds();
    uint64_t cores = cores_available(&bounds, engine->cores);
    uint64_t memory = engine->memory_usable = memory_available(&bounds),
             each = default_limits(settings)->value[LIMIT_MEMORY];
    uint64_t by_memory = memory / each;
    uint64_t concurrency = cores * 16;
    if (concurrency > by_memory)
        concurrency = by_memory < 1 ? 1 : by_memory;
    engine->concurrency = settings->concurrency ? settings->concurrency : concurrency;
    engine->processes_usable = processes_available(engine, &bounds);
    fit_open_files(engine, settings, cores, files, jails);
    /* Who asks for more runs than memory allows by their limits has them. */
    engine->memory_room = engine->concurrency > memory / each ? engine->concurrency * each : memory;
    return 0;
}

static bool lower(struct settings *settings, enum limit limit, uint64_t most)
{
    bool lowered = false;
    for (size_t i = 0; i <= settings->environment_count; i++) {
        struct limits *limits = i ? &settings->environments[i - 1].limits : &settings->limits;
        lowered |= limits->value[limit] > most;
        limits->value[limit] = limits->value[limit] > most ? most : limits->value[limit];
    }
    return lowered;
}

int engine_share_disk(const struct engine *engine, struct settings *settings, struct fault *fault)
{
    uint64_t bytes = engine->box_room.bytes / engine->concurrency;
    uint64_t inodes = engine->box_room.inodes / engine->concurrency;
    if (!engine->boxes)
        return 0;
    if (bytes < limit_table[LIMIT_DISK].least || inodes < limit_table[LIMIT_INODES].least)
        return fault_set(fault, "box", "statvfs", ENOSPC, "%s, for %" PRIu64 " runs at once", engine->plan.boxes,
                         engine->concurrency);
    if (lower(settings, LIMIT_DISK, bytes))
        log_event(LOG_WARNING,
                  "the disk limit is lowered to what the runs' directory has for each; in Docker raise --shm-size",
                  log_text("directory", engine->plan.boxes), log_number("disk_bytes", (int64_t)bytes));
    if (lower(settings, LIMIT_INODES, inodes))
        log_event(LOG_WARNING, "the limit of files is lowered to what the runs' directory has for each",
                  log_text("directory", engine->plan.boxes), log_number("inodes", (int64_t)inodes));
    return 0;
}
