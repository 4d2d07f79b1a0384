/* SIGHUP: the settings are read again, and what can change while serving does.
 *
 * Nothing in flight is touched: a run that has begun keeps the limits that it began with. New limits need jails made
 * for them, so they are in force only when a zygote warmed under them takes over (environment_take); until then, and
 * for good where no zygote can live under them, the old ones are. Everything else changes at once. A configuration that
 * is broken changes nothing. */
#include "engine.h"

#include "log.h"
#include "service.h"

#include <inttypes.h>
#include <string.h>

static void keeps_old(const char *key)
{
    log_event(LOG_WARNING, "a changed setting waits for a restart", log_text("setting", key));
}

bool recipe_waits(const struct environment *environment)
{
    return recipes_differ(&environment->wanted, &environment->made_for);
}

static bool any_wait(const struct engine *engine)
{
    for (size_t i = 0; i < engine->environment_count; i++) {
        if (recipe_waits(&engine->environments[i]))
            return true;
    }
    return false;
}

static int read_again(struct engine *engine, struct settings *fresh, struct key_list *keys)
{
    struct rest rest;
    struct fault fault;
    if (settings_load(fresh, engine->argc, engine->argv, &rest)) {
        log_event(LOG_ERROR, "the configuration is broken: the old one stays", log_text("reason", fresh->error));
        return -1;
    }
    settings_keep_fixed(fresh, engine->settings, keeps_old);
    if (listen_allowed(fresh, engine->listening, engine->listening_count, &fault)) {
        log_fault(LOG_ERROR, "the configuration is broken: the old one stays", &fault);
        return -1;
    }
    if (keys_read(fresh, keys)) {
        log_event(LOG_ERROR, "the configuration is broken: the old one stays", log_text("reason", keys->error));
        return -1;
    }
    if (tls_fits(engine, fresh, &fault) || engine_size(engine, fresh, &fault) ||
        engine_share_disk(engine, fresh, &fault)) {
        log_fault(LOG_ERROR, "the configuration cannot be had: the old one stays", &fault);
        return -1;
    }
    return 0;
}

/* Waiting jails that a smaller pool has no place for. */
static void drop_surplus(struct engine *engine)
{
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct slot *slot = &engine->slots[i];
        if (slot->state == SLOT_WAITING && slot->environment->in_state[SLOT_WAITING] > slot->environment->pool)
            slot_kill(engine, slot, CAUSE_LOST);
    }
}

void reload_done(struct engine *engine)
{
    if (!engine->reloading || any_wait(engine))
        return;
    engine->reloading = false;
    engine_tell_service(engine);
}

void engine_reload(struct engine *engine)
{
    static struct settings fresh; /* large */
    struct key_list keys = {0};
    struct fault fault;
    if (engine->draining)
        return;
    engine->reloading = true;
    service_tell("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_us());
    if (read_again(engine, &fresh, &keys)) {
        keys_forget(&keys);
        reload_done(engine);
        return;
    }
    *engine->settings = fresh;
    environments_want(engine, engine->settings);
    engine_size(engine, engine->settings, &fault); /* with the new ones' pools; it was right just before */
    engine->queue.most = (uint32_t)fresh.queue;
    engine_grow(engine);
    drop_surplus(engine);
    describe_again(engine);
    if (keys_take(engine, &keys))
        log_event(LOG_ERROR, "the keys stay as they were", log_text("reason", keys.error));
    keys_forget(&keys);
    tls_reload(engine);
    log_event(LOG_INFO, any_wait(engine) ? "the configuration was read again: its limits await a zygote"
                                         : "the configuration was read again");
    reload_done(engine);
    log_open("supervisor", (enum log_level)fresh.log_level,
             (enum log_format)fresh.log_format); /* last: that line is under the old level */
}

void environment_take(struct engine *engine, struct environment *environment, const struct recipe *recipe)
{
    bool limits = memcmp(&recipe->limits, &environment->made_for.limits, sizeof recipe->limits) != 0;
    if (!recipes_differ(recipe, &environment->made_for))
        return;
    environment->made_for = *recipe;
    if (limits)
        runs_bound(engine);
    /* Jails of the old make. */
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct slot *slot = &engine->slots[i];
        if (slot->environment == environment && (slot->state == SLOT_ENTERING || slot->state == SLOT_WAITING))
            slot_kill(engine, slot, CAUSE_LOST);
    }
    describe_again(engine);
    if (!environment->zygote.child.pid)
        return; /* the next zygote is made so */
    log_event(LOG_INFO, limits ? "new limits are in force" : "new modules are warm",
              log_text("environment", environment->name));
    reload_done(engine);
}
