/* What the supervisor counts, for the front's GET /metrics: numbers only. */
#include "engine.h"

#include "log.h"
#include "scope.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

_Static_assert(WIRE_SLOT_STATES == SLOT_DYING + 1, "a number for each state");

/* Resident memory by the kernel's word; 0 where there is no such process. */
static uint64_t resident_bytes(pid_t pid)
{
    char path[40], text[128];
    unsigned long pages = 0;
    if (pid <= 0)
        return 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length <= 0)
        return 0;
    text[length] = 0;
    return sscanf(text, "%*s %lu", &pages) == 1 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t zygotes_resident(const struct engine *engine)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < engine->environment_count; i++)
        bytes += resident_bytes(engine->environments[i].zygote.child.pid);
    return bytes;
}

void stats_send(struct engine *engine)
{
    const struct counts *counts = &engine->counts;
    struct wire_message message = {.type = WIRE_STATS};
    struct wire_stats *stats = &message.stats;
    *stats = (struct wire_stats){
        .started_s = counts->started_s,
        .pool = engine->environments[ENVIRONMENT_DEFAULT].pool,
        .concurrency = engine->concurrency,
        .queue = engine->settings->queue,
        .queued = runs_waiting(engine),
        .jails_made = counts->jails_made,
        .jails_failed = counts->jails_failed,
        .runs_restarted = counts->runs_restarted,
        .recycled = counts->recycled,
        .resident_bytes = {[PROCESS_SUPERVISOR] = resident_bytes(getpid()),
                           [PROCESS_STARTER] = resident_bytes(engine->starter.pid),
                           [PROCESS_FRONT] = resident_bytes(engine->front.pid),
                           [PROCESS_ZYGOTE] = zygotes_resident(engine)},
        .cgroup_bytes = engine->cgroups ? cgroups_memory(engine->cgroups) : 0,
        .log_lost = {[PROCESS_SUPERVISOR] = log_lost()},
    };
    for (size_t i = 0; i < engine->environment_count; i++) {
        const struct environment *environment = &engine->environments[i];
        uint32_t row = environment_named(environment)->number;
        stats->pools[row] += environment->zygote.child.ready ? environment->pool : 0;
        stats->waiting[row] += environment->in_state[SLOT_WAITING];
    }
    memcpy(stats->restarts, counts->restarts, sizeof stats->restarts);
    for (size_t i = 0; i < WIRE_SLOT_STATES; i++)
        stats->slots[i] = engine->in_state[i];
    front_send(engine, &message);
}
