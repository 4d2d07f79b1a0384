/* The pool: which jails are made, and which run gets which. A jail is of one environment and one size of disk; those of
 * an environment's usual size make its pool. engine.h has the theory of operation. */
#include "engine.h"

#include "scope.h"

#include <limits.h>

static struct slot *waiting_slot(struct engine *engine, const struct environment *environment, uint64_t disk_bytes)
{
    if (!environment->in_state[SLOT_WAITING])
        return NULL;
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct slot *slot = &engine->slots[i];
        if (slot->state == SLOT_WAITING && slot->environment == environment && slot->disk_bytes == disk_bytes)
            return slot;
    }
    return NULL;
}

static unsigned coming(const struct engine *engine, const struct environment *environment, uint64_t disk_bytes)
{
    unsigned count = 0;
    for (size_t i = 0; i < engine->slot_count; i++) {
        const struct slot *slot = &engine->slots[i];
        count += (slot->state == SLOT_SPAWNING || slot->state == SLOT_ENTERING) && slot->environment == environment &&
                 slot->disk_bytes == disk_bytes;
    }
    return count;
}

static bool may_spawn(const struct engine *engine, const struct environment *environment)
{
    return engine->free_slots && environment->zygote.child.ready && !engine->quit &&
           environment->in_state[SLOT_SPAWNING] < SPAWNS_AT_ONCE && now_us() >= environment->spawn_retry_us;
}

static bool has_place(const struct engine *engine)
{
    return engine->in_state[SLOT_RUNNING] - engine->probing < engine->concurrency;
}

/* By what they may use. One alone may always run. */
static bool has_memory(const struct engine *engine, const struct run *run)
{
    uint64_t memory = run->asked->made_for.limits.value[LIMIT_MEMORY];
    return engine->in_state[SLOT_RUNNING] - engine->probing == 0 || engine->memory_held + memory <= engine->memory_room;
}

/* It asks for another disk than is usual, where it can, so that its jail is a new one, of the zygote that is ready now.
 */
static void start_probe(struct engine *engine)
{
    if (!engine->probe)
        return;
    struct environment *environment = engine->probe->environment;
    uint64_t disk = engine->probe->limits.value[LIMIT_DISK];
    struct slot *slot = waiting_slot(engine, environment, disk);
    if (slot) {
        engine->probing = true;
        slot_start(engine, slot, take(engine->probe));
    } else if (!coming(engine, environment, disk) && may_spawn(engine, environment)) {
        slot_spawn(engine, environment, disk);
    }
}

static void start_parked(struct engine *engine)
{
    for (unsigned i = 0; i < engine->parked_count && has_place(engine);) {
        struct run *run = engine->parked[i];
        struct slot *slot = waiting_slot(engine, run->environment, run->limits.value[LIMIT_DISK]);
        if (slot) {
            run_unpark(engine, run);
            slot_start(engine, slot, run);
        } else {
            i++;
        }
    }
}

/* A jail's disk is fixed when it is mounted, so a run that asks for a smaller one than is usual waits for a jail of its
 * own: parked, with its turn taken, so that those behind it need not wait as well. */
static void park_odd(struct engine *engine)
{
    struct queue_entry *entry;
    while (engine->parked_count < PARKED_MOST && has_place(engine) && (entry = queue_next(&engine->queue, LANE_ODD))) {
        queue_take(&engine->queue, entry);
        engine->parked[engine->parked_count++] = (struct run *)entry;
    }
    for (unsigned i = 0; i < engine->parked_count; i++) {
        struct environment *environment = engine->parked[i]->environment;
        uint64_t disk = engine->parked[i]->limits.value[LIMIT_DISK];
        unsigned need = 0;
        for (unsigned j = 0; j <= i; j++)
            need +=
                engine->parked[j]->environment == environment && engine->parked[j]->limits.value[LIMIT_DISK] == disk;
        if (coming(engine, environment, disk) < need && may_spawn(engine, environment) &&
            environment->in_state[SLOT_SPAWNING] < SPAWNS_AT_ONCE / 2)
            slot_spawn(engine, environment, disk);
    }
}

/* Whose turn it is among the runs that have a usual jail waiting: of environments as of owners, who holds the fewest
 * places comes first, and then who came first. */
static struct run *next_usual(struct engine *engine, struct slot **slot)
{
    struct run *next = NULL;
    for (size_t i = 0; i < engine->environment_count; i++) {
        const struct environment *environment = &engine->environments[i];
        struct run *run = (struct run *)queue_next(&engine->queue, LANE_USUAL + environment->number);
        struct slot *waiting =
            run ? waiting_slot(engine, environment, environment->made_for.limits.value[LIMIT_DISK]) : NULL;
        uint32_t held = waiting ? run->entry.owner->running : 0;
        if (!waiting || (next && (held > next->entry.owner->running ||
                                  (held == next->entry.owner->running && run->asked_us > next->asked_us))))
            continue;
        next = run;
        *slot = waiting;
    }
    return next;
}

void pool_start_queued(struct engine *engine)
{
    struct run *run;
    struct slot *slot;
    start_probe(engine);
    start_parked(engine);
    while (engine->queue.length && has_place(engine) && (run = next_usual(engine, &slot)) && has_memory(engine, run)) {
        queue_take(&engine->queue, &run->entry);
        slot_start(engine, slot, run);
    }
    park_odd(engine);
}

static bool is_usual(const struct slot *slot)
{
    return slot->disk_bytes == slot->environment->made_for.limits.value[LIMIT_DISK];
}

/* Jails of the usual size that wait or are on their way: odd ones must not pass for the pool. */
static unsigned usual_ready(const struct engine *engine, const struct environment *environment)
{
    unsigned count = 0;
    for (size_t i = 0; i < engine->slot_count; i++) {
        const struct slot *slot = &engine->slots[i];
        count += slot->environment == environment && slot->state >= SLOT_SPAWNING && slot->state <= SLOT_WAITING &&
                 is_usual(slot);
    }
    return count;
}

/* A clone costs more CPU than a short run. So while runs begin, what has just been started, and its answer on the way
 * to its client, come first as long as half of what serves a steady load is there, and only that much is made. The rest
 * of the pool is for bursts: made when there is nothing else to do, no more at once than there are cores without a run,
 * as somebody may ask in the middle of it. */
void pool_refill(struct engine *engine, struct environment *environment)
{
    uint64_t running = engine->in_state[SLOT_RUNNING], queued = engine->queue.in_lane[LANE_USUAL + environment->number];
    uint64_t room = running < engine->concurrency ? engine->concurrency - running : 0; /* a reload may lower it */
    uint64_t steady = (uint64_t)engine->cores * POOL_STEADY_PER_CORE, waiting = environment->in_state[SLOT_WAITING];
    unsigned idle = running < engine->cores ? engine->cores - (unsigned)running : 0; /* cores, at the least */
    bool busy = now_us() < engine->started_us + POOL_REFILL_US;
    steady = steady < environment->pool ? steady : environment->pool;
    if (busy && waiting >= (steady + 1) / 2)
        return;
    uint64_t want = (busy || !idle ? steady : environment->pool) + (queued < room ? queued : room);
    unsigned at_once = busy || waiting < steady ? UINT_MAX : idle;
    while (may_spawn(engine, environment) && usual_ready(engine, environment) < want &&
           environment->in_state[SLOT_SPAWNING] + environment->in_state[SLOT_ENTERING] < at_once) {
        unsigned before = environment->in_state[SLOT_SPAWNING];
        slot_spawn(engine, environment, environment->made_for.limits.value[LIMIT_DISK]);
        if (environment->in_state[SLOT_SPAWNING] == before)
            break; /* it failed; spawn_retry_us or the zygote's end says when to try again */
    }
}

static bool is_wanted_by(const struct run *run, const struct slot *slot)
{
    return run->environment == slot->environment && run->limits.value[LIMIT_DISK] == slot->disk_bytes;
}

static bool is_wanted(const struct engine *engine, const struct slot *slot)
{
    for (unsigned i = 0; i < engine->parked_count; i++) {
        if (is_wanted_by(engine->parked[i], slot))
            return true;
    }
    return engine->probe && is_wanted_by(engine->probe, slot);
}

void pool_drop_odd(struct engine *engine)
{
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct slot *slot = &engine->slots[i];
        if (slot->state == SLOT_WAITING && !is_usual(slot) && !is_wanted(engine, slot))
            slot_kill(engine, slot, CAUSE_LOST);
    }
}
