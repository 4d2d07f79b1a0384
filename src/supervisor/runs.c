/* Runs: what was asked for, from the front's RUN to the last word on it. The queue says whose turn it is; an id finds
 * its run at once. */
#include "engine.h"

#include "log.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

enum {
    MESSAGES_AT_ONCE = 64, /* so that a busy front does not keep the clock from its work */
    RETRY_MOST_S = 60,
    MEAN_OF = 16,   /* runs, about, that the mean is of */
    JOB_FACTOR = 4, /* "a":"", in a request's files is two frames of a job */
    JOB_MORE = 64 << 10,
};

_Static_assert(offsetof(struct run, entry) == 0, "an entry of the queue is a run");

/* ---- by id ---- */

static struct run **place_of(const struct engine *engine, uint64_t id)
{
    return &engine->by_id[(id * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - engine->by_id_bits)];
}

/* Where the run with this id hangs, or would. */
static struct run **find(const struct engine *engine, uint64_t id)
{
    struct run **at = place_of(engine, id);
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void forget_id(struct engine *engine, struct run *run)
{
    if (!run->id)
        return;
    *find(engine, run->id) = run->next;
    run->next = NULL;
    run->id = 0;
}

/* ---- the last word ---- */

void run_unpark(struct engine *engine, struct run *run)
{
    for (unsigned i = 0; i < engine->parked_count; i++) {
        if (engine->parked[i] != run)
            continue;
        for (engine->parked_count--; i < engine->parked_count; i++)
            engine->parked[i] = engine->parked[i + 1];
    }
}

static void run_free(struct engine *engine, struct run *run)
{
    if (engine->probe == run)
        engine->probe = NULL;
    if (run->probe && run->slot)
        engine->probing = false;
    run_unpark(engine, run);
    run->environment->runs--;
    queue_leave(&engine->queue, &run->entry);
    forget_id(engine, run);
    drop_fd(&run->job);
    drop_fd(&run->input);
    free(run);
}

/* Seconds after which the queue as it is will have been served, at the pace of the last runs. */
static uint32_t queue_lasts_s(const struct engine *engine)
{
    uint64_t places = engine->in_state[SLOT_RUNNING] ? engine->in_state[SLOT_RUNNING] : 1;
    uint64_t seconds = (runs_waiting(engine) * engine->mean_wall_us / places + 999999) / 1000000;
    return seconds < 1 ? 1 : seconds > RETRY_MOST_S ? RETRY_MOST_S : (uint32_t)seconds;
}

static void refuse(struct engine *engine, uint64_t id, enum refusal reason, uint64_t retry_us)
{
    struct wire_message message = {.type = WIRE_REFUSED, .refused = {.id = id, .reason = reason}};
    bool queue = reason == REFUSED_FULL || reason == REFUSED_CROWDED || reason == REFUSED_LATE;
    message.refused.retry_after_s = queue ? queue_lasts_s(engine) : (uint32_t)((retry_us + 999999) / 1000000);
    front_send(engine, &message);
}

static void run_refuse(struct engine *engine, struct run *run, enum refusal reason)
{
    if (run->id)
        refuse(engine, run->id, reason, 0);
    run_free(engine, run);
}

void run_finish(struct engine *engine, struct run *run, const struct facts *facts)
{
    struct wire_message message = {.type = WIRE_OUTCOME, .outcome = {.id = run->id, .facts = *facts}};
    if (run->id)
        front_send(engine, &message);
    if (run->slot && !run->probe)
        engine->mean_wall_us = (engine->mean_wall_us * (MEAN_OF - 1) + facts->wall_us) / MEAN_OF;
    run_free(engine, run);
}

/* A run that has not begun gets no more than the limits in force, and of the disk what is usual if it was to have that.
 */
static void run_bound(struct run *run)
{
    const struct limits *limits = &run->asked->made_for.limits;
    for (int i = 0; i < LIMIT_COUNT; i++) {
        bool usual = i == LIMIT_DISK && run->entry.lane != LANE_ODD;
        if (usual || run->limits.value[i] > limits->value[i])
            run->limits.value[i] = limits->value[i];
    }
}

void runs_bound(struct engine *engine)
{
    for (size_t i = 0; i < UINT64_C(1) << engine->by_id_bits; i++) {
        for (struct run *run = engine->by_id[i]; run; run = run->next) {
            if (!run->slot)
                run_bound(run);
        }
    }
}

/* Its lane: that of its environment's usual jails, or that of those who need a jail of their own. */
static enum lane lane_of(const struct run *run)
{
    bool usual = run->limits.value[LIMIT_DISK] == run->environment->made_for.limits.value[LIMIT_DISK];
    return usual ? (enum lane)(LANE_USUAL + run->environment->number) : LANE_ODD;
}

void run_requeue(struct engine *engine, struct run *run)
{
    run->slot = NULL;
    if (run->probe) {
        engine->probe = run;
        engine->probing = false;
        return;
    }
    run_bound(run);
    run->entry.lane = lane_of(run);
    queue_put_back(&engine->queue, &run->entry);
}

/* Where a run is to be: in the warmer one if that is there now, else in one that has the same modules and more, else
 * where it asked to be. What is not there the next may find there. */
static struct environment *place_for(struct environment *asked, struct environment *warmer, uint64_t now)
{
    bool needed = false;
    for (; warmer && warmer != asked; warmer = warmer->larger) {
        if (environment_is_broken(warmer) || !environment_is_warmer(warmer, asked))
            continue;
        if (!needed)
            warmer->needed_us = now;
        needed = true;
        if (warmer->zygote.child.ready)
            return warmer;
    }
    asked->needed_us = now;
    return asked;
}

/* Out of an environment that it has not asked for and that is not to be had. */
static void run_move(struct engine *engine, struct run *run)
{
    bool parked = run->entry.state == ENTRY_RUNNING;
    if (run->entry.state == ENTRY_WAITING)
        queue_take(&engine->queue, &run->entry);
    if (parked)
        run_unpark(engine, run);
    run->environment->runs--;
    run->environment = place_for(run->asked, run->environment, now_us());
    run->environment->runs++;
    run->entry.lane = lane_of(run);
    queue_put_back(&engine->queue, &run->entry);
}

uint64_t runs_waiting(const struct engine *engine)
{
    return engine->queue.length + engine->parked_count;
}

struct run *run_waiting(const struct engine *engine)
{
    if (engine->parked_count)
        return engine->parked[0];
    struct queue_entry *any = queue_any(&engine->queue);
    return any ? (struct run *)any : engine->probe;
}

static uint64_t parked_deadline(const struct run *run)
{
    return run->entry.promised ? UINT64_MAX : run->entry.deadline_us;
}

void runs_move(struct engine *engine, const struct environment *environment)
{
    for (size_t i = 0; environment->runs && i < UINT64_C(1) << engine->by_id_bits; i++) {
        for (struct run *run = engine->by_id[i], *next; run; run = next) {
            next = run->next;
            if (run->slot || run->environment != environment)
                continue;
            if (environment_is_broken(run->asked))
                run_refuse(engine, run, REFUSED_BROKEN);
            else if (run->asked != environment)
                run_move(engine, run);
        }
    }
}

void runs_refuse(struct engine *engine)
{
    struct queue_entry *earliest;
    uint64_t now = now_us();
    while ((earliest = queue_earliest(&engine->queue)) && earliest->deadline_us <= now)
        run_refuse(engine, (struct run *)earliest, REFUSED_LATE);
    for (unsigned i = engine->parked_count; i-- > 0;) {
        if (parked_deadline(engine->parked[i]) <= now)
            run_refuse(engine, engine->parked[i], REFUSED_LATE);
    }
    for (size_t i = 0; i < engine->environment_count; i++) {
        if (environment_is_broken(&engine->environments[i]))
            runs_move(engine, &engine->environments[i]);
    }
}

uint64_t runs_deadline(const struct engine *engine)
{
    const struct queue_entry *earliest = queue_earliest(&engine->queue);
    uint64_t deadline = earliest ? earliest->deadline_us : UINT64_MAX;
    for (unsigned i = 0; i < engine->parked_count; i++) {
        uint64_t other = parked_deadline(engine->parked[i]);
        deadline = other < deadline ? other : deadline;
    }
    return deadline;
}

void runs_orphan(struct engine *engine)
{
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct run *run = engine->slots[i].run;
        if (!run)
            continue;
        forget_id(engine, run); /* the next front gives the same numbers again */
        run->starts = UINT_MAX;
        slot_kill(engine, &engine->slots[i], CAUSE_CANCELLED);
    }
    for (struct run *run; (run = run_waiting(engine));)
        run_free(engine, run);
}

/* ---- what the front asks for ---- */

/* A run with limits of its own may have lowered them, never raised above what its front was ever told: a reload may
 * just have lowered them. */
static bool limits_in_bounds(const struct environment *environment, const struct limits *limits)
{
    for (int i = 0; i < LIMIT_COUNT; i++) {
        if (limits->value[i] > environment->told.value[i] || limits->value[i] < limit_table[i].least)
            return false;
    }
    return true;
}

/* The front may have heard of a key before its limits were lowered. */
static void lower_to_key(struct limits *limits, const struct owner *owner)
{
    for (int i = 0; *owner->key.id && i < LIMIT_COUNT; i++) {
        uint64_t most = owner->key.limits.value[i];
        limits->value[i] = limits->value[i] < most ? limits->value[i] : most;
    }
}

static struct run *run_new(struct engine *engine, const struct wire_run *asked, const struct owner *owner)
{
    struct run *run = calloc(1, sizeof *run);
    uint64_t now = now_us();
    if (!run)
        return NULL;
    run->id = asked->id;
    run->limits = asked->limits;
    lower_to_key(&run->limits, owner);
    run->asked_us = now;
    run->probe = asked->probe;
    run->job = run->input = -1;
    run->entry.promised = engine->front_once || asked->tell_queued;
    run->asked = &engine->environments[asked->environment];
    run->environment = place_for(run->asked, &engine->environments[asked->warmer], now);
    run->entry.lane = LANE_ODD;
    run_bound(run);
    run->entry.lane = lane_of(run);
    run->entry.deadline_us = now + engine->settings->queue_timeout_ms * 1000;
    return run;
}

/* Whether it may wait at all. */
static bool run_add(struct engine *engine, struct run *run, struct owner *owner, struct queue_entry **ousted)
{
    if (!run->probe)
        return queue_add(&engine->queue, &owner->queue, &run->entry, ousted);
    if (engine->probe || engine->probing)
        return false;
    engine->probe = run;
    return true;
}

/* Takes message's descriptors and returns 0, or -1 with the reason, and when to try again where that is known. */
static int run_accept(struct engine *engine, struct wire_message *message, enum refusal *reason, uint64_t *retry_us)
{
    struct queue_entry *ousted = NULL;
    struct owner *owner = message->run.probe ? &engine->front_itself : owner_find(engine->owners, message->run.owner);
    *reason = engine->draining ? REFUSED_DRAINING : REFUSED_BROKEN;
    if (engine->draining || environment_is_broken(&engine->environments[message->run.environment]))
        return -1;
    *reason = owner ? REFUSED_RATE : REFUSED_KEY;
    if (!owner || (*retry_us = owner_wait_us(owner, now_us())))
        return -1;
    *reason = REFUSED_CROWDED;
    struct run *run = run_new(engine, &message->run, owner);
    if (!run)
        return -1;
    if (!run_add(engine, run, owner, &ousted)) {
        if (!run->probe && !run->entry.promised)
            *reason = REFUSED_FULL;
        free(run);
        return -1;
    }
    owner_spend(owner, now_us());
    run->environment->runs++;
    run->job = take_fd(&message->fds[0]);
    if (message->run.has_stdin)
        run->input = take_fd(&message->fds[1]);
    *find(engine, run->id) = run;
    if (ousted)
        run_refuse(engine, (struct run *)ousted, REFUSED_CROWDED);
    if (message->run.tell_queued)
        front_send(engine, &(struct wire_message){.type = WIRE_QUEUED, .queued = {.id = run->id}});
    return 0;
}

static void run_asked(struct engine *engine, struct wire_message *message)
{
    enum refusal reason;
    uint64_t retry_us = 0;
    if (run_accept(engine, message, &reason, &retry_us)) {
        refuse(engine, message->run.id, reason, retry_us);
        if (reason == REFUSED_FULL && !engine->full_told) {
            engine->full_told = true;
            engine->left = engine->queue.left;
        }
    }
    wire_close_fds(message);
}

/* What a full queue holds changes only when something leaves it, or when it may hold more. */
void runs_tell_room(struct engine *engine)
{
    if (!engine->full_told || (engine->left == engine->queue.left && engine->queue.length >= engine->queue.most))
        return;
    engine->full_told = false;
    front_send(engine, &(struct wire_message){.type = WIRE_ROOM});
}

/* What the front may have a run killed for. Past the deadline it is our own clock that has failed. */
static bool is_heeded(const struct engine *engine, enum cause cause)
{
    switch (cause) {
    case CAUSE_WALL:
        return engine->plan.layers & WALL_FRONT;
    case CAUSE_OUTPUT:
    case CAUSE_RESULT:
        return engine_watches(engine);
    default:
        return true;
    }
}

static void run_cancelled(struct engine *engine, const struct wire_cancel *cancel)
{
    struct run *run = *find(engine, cancel->id);
    if (!run || !is_heeded(engine, (enum cause)cancel->cause))
        return;
    if (!run->slot) { /* past its time without having a jail: its first one was killed, and there is no other */
        enum cause cause = cancel->cause == CAUSE_CANCELLED ? CAUSE_CANCELLED : CAUSE_LOST;
        struct facts facts = {.cause = cause, .queued_us = now_us() - run->asked_us};
        run_finish(engine, run, &facts);
        return;
    }
    if (run->slot->killed && run->slot->facts.cause == CAUSE_LOST)
        run->slot->facts.cause = cancel->cause; /* not to be started again for nobody */
    slot_kill(engine, run->slot, (enum cause)cancel->cause);
}

/* A memory file that nobody can change any more, and no longer than the frames of any request: what a run is given is
 * never a way to something else. The command line's client reads files that no limit is for. */
static bool is_sealed(const struct engine *engine, int fd)
{
    const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    uint64_t most = engine->environments[ENVIRONMENT_DEFAULT].told.value[LIMIT_REQUEST] * JOB_FACTOR + JOB_MORE;
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & all) == all && fstat(fd, &status) == 0 &&
           (engine->front_once || (uint64_t)status.st_size <= most);
}

static bool is_sound(const struct engine *engine, const struct wire_message *message)
{
    const struct wire_run *asked = &message->run;
    bool sound = asked->id && !*find(engine, asked->id) && asked->environment < engine->environment_count &&
                 asked->warmer < engine->environment_count && !engine->environments[asked->environment].larger &&
                 limits_in_bounds(&engine->environments[asked->environment], &asked->limits) &&
                 message->fd_count == (asked->has_stdin ? 2 : 1);
    for (int i = 0; sound && i < message->fd_count; i++)
        sound = is_sealed(engine, message->fds[i]);
    return sound;
}

/* Returns false when the front broke the protocol. */
static bool front_message(struct engine *engine, struct wire_message *message)
{
    if (message->type == WIRE_ASK_STATS) {
        stats_send(engine);
        return true;
    }
    if (message->type == WIRE_RUN && is_sound(engine, message)) {
        run_asked(engine, message);
        return true;
    }
    uint32_t cause = message->type == WIRE_CANCEL ? message->cancel.cause : CAUSE_NONE;
    if (cause == CAUSE_WALL || (cause >= CAUSE_OUTPUT && cause <= CAUSE_CANCELLED)) {
        run_cancelled(engine, &message->cancel);
        return true;
    }
    return false;
}

void front_event(struct engine *engine)
{
    for (int i = 0; i < MESSAGES_AT_ONCE; i++) {
        struct wire_message message;
        int result = wire_receive(engine->front.socket, LINK_FRONT, false, &message);
        if (result == WIRE_AGAIN)
            return;
        engine->front.heard = true;
        if (result == WIRE_OK && front_message(engine, &message))
            continue;
        if (result == WIRE_STARVED && message.type == WIRE_RUN) {
            engine_starved(engine, "a request");
            refuse(engine, message.run.id, REFUSED_CROWDED, 0);
            continue;
        }
        if (result == WIRE_OK)
            wire_close_fds(&message);
        if (result != WIRE_CLOSED) {
            log_event(LOG_ERROR, "the front broke the protocol and is ended");
            child_kill(&engine->front);
        }
        drop_fd(&engine->front.socket); /* wait4() tells the rest */
        return;
    }
}

/* ---- open and close ---- */

int runs_open(struct engine *engine, struct fault *fault)
{
    uint64_t most = engine->settings->queue + engine->concurrency + PARKED_MOST;
    struct key_list list;
    for (engine->by_id_bits = 6; UINT64_C(1) << engine->by_id_bits < most;)
        engine->by_id_bits++;
    engine->by_id = calloc(UINT64_C(1) << engine->by_id_bits, sizeof(struct run *));
    if (!engine->by_id || queue_open(&engine->queue, SETTINGS_QUEUE_MOST, SETTINGS_CONCURRENCY_MOST + PARKED_MOST))
        return fault_set(fault, "supervisor", "calloc", errno, "the queue");
    engine->queue.most = (uint32_t)engine->settings->queue;
    int result = keys_read(engine->settings, &list) || keys_take(engine, &list) ? -1 : 0;
    keys_forget(&list);
    return result ? fault_set(fault, "keys", "read", 0, "%s", list.error) : 0;
}

void runs_close(struct engine *engine)
{
    for (struct run *run; engine->by_id && (run = run_waiting(engine));)
        run_free(engine, run);
    queue_close(&engine->queue);
    free(take(engine->by_id));
    drop_fd(&engine->keys);
}
