/* The table of environments: from the settings to its rows, and which zygotes are to be there.
 *
 * A row is never given to another name, so a number that the front still holds after a reload means what it meant; an
 * environment that the settings no longer have serves what has been asked of it and is then put away. Interpreters are
 * looked at and shown in jails by who is more privileged than we are once we serve: those of the start are all there
 * are, and another waits for a restart. */
#include "engine.h"

#include "cgroup_files.h"
#include "log.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_US = 2000000 };

/* Environments that need no section: what they preload of it is what is installed. The first is always there, the
 * others where the first of their packages is. A clone pays for all that its zygote has warm, so each has tiers: rows
 * with the beginnings of its list, for scripts that import no more of it. */
static const struct {
    const char *name;
    struct {
        const char *package, *modules;
    } preload[4];
} usual[] = {
    {"default", {{NULL, NULL}}},
    {"data", {{"numpy", "numpy"}, {"pandas", "pandas"}, {"matplotlib", "matplotlib.pyplot"}}},
};

static const char *python_of(const struct settings *settings, const struct environment_settings *wanted)
{
    return wanted && wanted->python ? wanted->python : settings->python;
}

static const char *path_of(const struct environment_settings *wanted)
{
    return wanted && wanted->path ? wanted->path : "";
}

static uint32_t interpreter_of(const struct engine *engine, const char *python, const char *path)
{
    uint32_t i = 0;
    while (i < engine->interpreter_count && (strcmp(engine->interpreters[i]->executable, python) != 0 ||
                                             strcmp(engine->interpreters[i]->path, path) != 0))
        i++;
    return i;
}

/* The modules that sections want of this interpreter, all together. */
static void modules_of(const struct settings *settings, const char *python, const char *path, char *text, size_t size)
{
    *text = 0;
    for (size_t i = 0; i < settings->environment_count; i++) {
        const struct environment_settings *each = &settings->environments[i];
        size_t length = strlen(text);
        if (each->preload && strcmp(python_of(settings, each), python) == 0 && strcmp(path_of(each), path) == 0)
            snprintf(text + length, size - length, "%s ", each->preload);
    }
    for (; *text; text++)
        *text = *text == ',' ? ' ' : *text;
}

static int check_path(const char *path, struct fault *fault)
{
    char directory[4096];
    for (const char *at = path; *at; at += *at == ':') {
        size_t length = strcspn(at, ":");
        snprintf(directory, sizeof directory, "%.*s", (int)length, at);
        if (length && access(directory, R_OK | X_OK))
            return fault_set(fault, "interpreter", "path", errno, "%s", directory);
        at += length;
    }
    return 0;
}

static int add_interpreter(struct engine *engine, const struct settings *settings,
                           const struct environment_settings *wanted, struct fault *fault)
{
    const char *python = python_of(settings, wanted), *path = path_of(wanted);
    if (interpreter_of(engine, python, path) < engine->interpreter_count)
        return 0;
    char modules[ENVIRONMENTS_MOST * (ENVIRONMENT_MODULES + 1)];
    modules_of(settings, python, path, modules, sizeof modules);
    struct interpreter *interpreter = malloc(sizeof *interpreter);
    if (!interpreter)
        return fault_set(fault, "interpreter", "malloc", errno, "%s", python);
    engine->interpreters[engine->interpreter_count++] = interpreter;
    return check_path(path, fault)
               ? -1
               : interpreter_find(interpreter, python, path, modules, engine->plan.zygote_uid, fault);
}

int environments_open(struct engine *engine, struct settings *settings, struct fault *fault)
{
    struct fault why;
    if (add_interpreter(engine, settings, NULL, fault))
        return -1;
    for (size_t i = 0; i < settings->environment_count; i++) {
        const struct environment_settings *wanted = &settings->environments[i];
        if (!add_interpreter(engine, settings, wanted, &why))
            continue;
        *fault = why;
        snprintf(fault->object, sizeof fault->object, "%.*s, in [environment %s]", (int)sizeof fault->object - 64,
                 why.object, wanted->name);
        return -1;
    }
    environments_want(engine, settings);
    for (size_t i = 0; i < engine->environment_count; i++) {
        struct environment *environment = &engine->environments[i];
        const struct interpreter *interpreter = engine->interpreters[environment->interpreter];
        environment->made_for = environment->wanted;
        for (const char *at = environment->wanted.modules; *at; at += strspn(at, " ")) {
            size_t length = strcspn(at, " ");
            if (has_word(interpreter->missing, at, length))
                return fault_set(fault, "interpreter", "find", ENOENT, "%s has no module %.*s, in [environment %s]",
                                 interpreter->executable, (int)length, at, environment->name);
            at += length;
        }
    }
    return 0;
}

/* ---- what is wanted ---- */

/* The section's list, or what goes with its name and is installed: words, each with a blank after it. */
static void preload_of(const struct interpreter *interpreter, const char *name,
                       const struct environment_settings *wanted, char modules[ENVIRONMENT_MODULES])
{
    size_t length = 0;
    *modules = 0;
    for (const char *at = wanted->preload ? wanted->preload : ""; *at; at += strspn(at, " ,")) {
        size_t size = strcspn(at, " ,");
        length += (size_t)snprintf(modules + length, ENVIRONMENT_MODULES - length, "%.*s ", (int)size, at);
        at += size;
    }
    for (size_t i = 0; i < COUNT(usual) && !wanted->preload; i++) {
        for (size_t j = 0; strcmp(usual[i].name, name) == 0 && j < COUNT(usual[i].preload); j++) {
            if (usual[i].preload[j].package && interpreter_has_package(interpreter, usual[i].preload[j].package))
                length += (size_t)snprintf(modules + length, ENVIRONMENT_MODULES - length, "%s ",
                                           usual[i].preload[j].modules);
        }
    }
}

bool recipes_differ(const struct recipe *one, const struct recipe *other)
{
    return memcmp(&one->limits, &other->limits, sizeof one->limits) != 0 || strcmp(one->modules, other->modules) != 0;
}

static struct environment *row_named(struct engine *engine, const char *name)
{
    for (size_t i = 0; i < engine->environment_count; i++) {
        if (!engine->environments[i].larger && strcmp(engine->environments[i].name, name) == 0)
            return &engine->environments[i];
    }
    return NULL;
}

static struct environment *tier_below(struct engine *engine, const struct environment *larger)
{
    for (size_t i = 0; i < engine->environment_count; i++) {
        if (engine->environments[i].larger == larger)
            return &engine->environments[i];
    }
    return NULL;
}

/* An environment's, or with a larger one a tier's. */
static struct environment *row_new(struct engine *engine, const char *name, struct environment *larger)
{
    size_t like = 0;
    for (size_t i = 0; i < engine->environment_count; i++)
        like += !engine->environments[i].larger == !larger;
    if (like == (larger ? ENVIRONMENT_TIERS : ENVIRONMENTS_MOST))
        return NULL;
    struct environment *environment = &engine->environments[engine->environment_count];
    *environment = (struct environment){.number = (uint32_t)engine->environment_count++, .larger = larger};
    snprintf(environment->name, sizeof environment->name, "%s", name);
    zygote_open(&environment->zygote, environment);
    zygote_open(&environment->next_zygote, environment);
    return environment;
}

static void waits_for_restart(const char *name, const char *why)
{
    log_event(LOG_WARNING, "a changed setting waits for a restart", log_text("setting", "environment"),
              log_text("environment", name), log_text("reason", why));
}

/* The row of an environment, or of the tier below `larger`: new where there is none; NULL where there can be none. */
static struct environment *row_of(struct engine *engine, const char *name, struct environment *larger,
                                  const struct recipe *recipe)
{
    struct environment *environment = larger ? tier_below(engine, larger) : row_named(engine, name);
    if (!environment && (environment = row_new(engine, name, larger)))
        environment->made_for = *recipe;
    return environment;
}

static void want_row(struct engine *engine, struct environment *environment, uint32_t interpreter,
                     const struct recipe *recipe, const struct environment_settings *wanted)
{
    if (!environment->offered || recipes_differ(&environment->wanted, recipe))
        environment->failures = 0; /* it is another chance */
    environment->interpreter = interpreter;
    environment->offered = true;
    environment->wanted = *recipe;
    if (!engine->slots) /* nothing has been made for it */
        environment->made_for = *recipe;
    environment->pool_wanted = wanted->pool;
    environment->warm = wanted->warm && !environment->larger;
    environment->idle_us = wanted->idle_ms * 1000;
}

/* Of words with a blank after each. Returns whether any is left. */
static bool drop_last_word(char *words)
{
    char *blank = strrchr(words, ' ');
    if (blank)
        *blank = 0;
    blank = strrchr(words, ' ');
    words[blank ? blank + 1 - words : 0] = 0;
    return *words;
}

static void want(struct engine *engine, const struct settings *settings, const struct environment_settings *wanted,
                 bool named[ENVIRONMENT_ROWS])
{
    uint32_t interpreter = interpreter_of(engine, python_of(settings, wanted), path_of(wanted));
    struct environment *environment = row_named(engine, wanted->name);
    struct recipe recipe = {.limits = wanted->limits};
    if (environment && environment->offered && environment->interpreter != interpreter) {
        waits_for_restart(wanted->name, "python or path");
        interpreter = environment->interpreter;
    }
    if (interpreter == engine->interpreter_count) {
        waits_for_restart(wanted->name, "an interpreter or path that was not there at the start");
        return;
    }
    if (engine->plan.engine == ENGINE_CLONE) /* else each run begins anew, and nothing is warm */
        preload_of(engine->interpreters[interpreter], wanted->name, wanted, recipe.modules);
    environment = row_of(engine, wanted->name, NULL, &recipe);
    if (!environment)
        waits_for_restart(wanted->name, "there have been as many environments as there can be");
    while (environment) {
        want_row(engine, environment, interpreter, &recipe, wanted);
        named[environment->number] = true;
        bool tier = !wanted->preload && drop_last_word(recipe.modules);
        environment = tier ? row_of(engine, wanted->name, environment, &recipe) : NULL;
    }
}

/* Sections for the environments that need none. */
static void add_usual(struct engine *engine, struct settings *settings)
{
    for (size_t i = 0; i < COUNT(usual); i++) {
        bool given = false;
        for (size_t j = 0; j < settings->environment_count; j++)
            given |= strcmp(settings->environments[j].name, usual[i].name) == 0;
        const char *package = usual[i].preload[0].package;
        if (given || (package && !interpreter_has_package(engine->interpreters[0], package)))
            continue;
        struct environment_settings *added = settings_add_environment(settings, usual[i].name);
        if (added)
            added->limits = settings->limits;
    }
}

void environments_want(struct engine *engine, struct settings *settings)
{
    add_usual(engine, settings);
    bool named[ENVIRONMENT_ROWS] = {false};
    if (!engine->environment_count)
        row_new(engine, usual[0].name, NULL); /* whatever the order of the sections */
    for (size_t i = 0; i < settings->environment_count; i++)
        want(engine, settings, &settings->environments[i], named);
    for (size_t i = 0; i < engine->environment_count; i++) {
        struct environment *environment = &engine->environments[i];
        environment->offered &= named[i];
        struct zygote *next = &environment->next_zygote;
        /* One that warms to another recipe would only have to be replaced again. */
        if (next->child.pid && recipes_differ(&next->recipe, &environment->wanted)) {
            next->dismissed = true;
            child_kill(&next->child);
        }
        if (!environment->zygote.child.pid && recipes_differ(&environment->made_for, &environment->wanted))
            environment_take(engine, environment, &environment->wanted);
    }
}

/* ---- who may stand in for whom ---- */

bool environment_is_warmer(const struct environment *environment, const struct environment *than)
{
    if (!environment->offered || environment == than || environment->interpreter != than->interpreter)
        return false;
    for (int i = 0; i < LIMIT_COUNT; i++) {
        uint64_t has = environment->made_for.limits.value[i], needed = than->made_for.limits.value[i];
        if (has < needed || (i == LIMIT_DISK && has != needed)) /* a jail's disk is fixed when it is made */
            return false;
    }
    return true;
}

/* No jail of it will be had. */
bool environment_is_broken(const struct environment *environment)
{
    return environment->failures >= FAILURES_MOST && !environment->in_state[SLOT_WAITING];
}

enum environment_state environment_state(const struct environment *environment)
{
    if (environment->zygote.child.ready)
        return ENVIRONMENT_UP;
    if (environment->failures >= FAILURES_MOST)
        return ENVIRONMENT_FAILED;
    return environment->zygote.child.pid ? ENVIRONMENT_WARMING : ENVIRONMENT_DOWN;
}

const struct environment *environment_named(const struct environment *environment)
{
    while (environment->larger)
        environment = environment->larger;
    return environment;
}

/* It is as far as the farthest of its zygotes, and has failed when the one with all its modules has: the tiers only
 * stand in for that. */
void environments_states(const struct engine *engine, uint8_t states[ENVIRONMENT_ROWS])
{
    memset(states, 0, ENVIRONMENT_ROWS);
    for (size_t i = 0; i < engine->environment_count; i++) {
        const struct environment *environment = &engine->environments[i];
        enum environment_state state = environment_state(environment);
        uint8_t *told = &states[environment_named(environment)->number];
        bool counts = !environment->larger || (environment->offered && state != ENVIRONMENT_FAILED);
        if (counts && state > *told)
            *told = (uint8_t)state;
    }
}

/* ---- which zygotes are to be there ---- */

/* The default one is always there, but under a command line that asks for another. */
bool environment_is_needed(const struct engine *engine, const struct environment *environment, uint64_t now)
{
    bool always = environment->number == ENVIRONMENT_DEFAULT && !engine->front_once;
    if (always || environment->runs)
        return true;
    if (!environment->offered || engine->memory_short)
        return false;
    return environment->warm || (environment->needed_us && now - environment->needed_us < environment->idle_us);
}

static void put_away(struct engine *engine, struct environment *environment)
{
    struct zygote *const zygotes[] = {&environment->zygote, &environment->next_zygote};
    log_event(LOG_INFO, engine->memory_short ? "a zygote is put away: memory is short" : "an idle zygote is put away",
              log_text("environment", environment->name));
    for (size_t i = 0; i < COUNT(zygotes); i++) {
        zygotes[i]->dismissed = true;
        zygotes[i]->child.ready = false;
        child_kill(&zygotes[i]->child);
    }
    for (size_t i = 0; i < engine->slot_count; i++) {
        if (engine->slots[i].environment == environment &&
            (engine->slots[i].state == SLOT_ENTERING || engine->slots[i].state == SLOT_WAITING))
            slot_kill(engine, &engine->slots[i], CAUSE_LOST);
    }
}

static bool is_memory_short(const struct settings *settings)
{
    uint64_t available = CGROUP_UNKNOWN, ours = cgroup_own_bounds().memory_left_bytes;
    char text[1024];
    auto_fd int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length > 0) {
        text[length] = 0;
        const char *line = strstr(text, "MemAvailable:");
        available = line ? strtoull(line + strlen("MemAvailable:"), NULL, 10) * 1024 : available;
    }
    return (available < ours ? available : ours) < settings->spare_bytes;
}

void environments_keep(struct engine *engine, uint64_t now)
{
    if (engine->environment_count > 1 && now >= engine->memory_look_us) {
        engine->memory_look_us = now + LOOK_US;
        engine->memory_short = is_memory_short(engine->settings);
    }
    for (size_t i = 0; i < engine->environment_count; i++) {
        struct environment *environment = &engine->environments[i];
        struct zygote *zygote = &environment->zygote;
        bool needed = environment_is_needed(engine, environment, now);
        if (!needed && zygote->child.pid && !zygote->dismissed)
            put_away(engine, environment);
        else if (needed && !zygote->child.pid && now >= zygote->child.retry_us)
            zygote_start(engine, zygote);
        if (needed)
            zygote_recycle(engine, environment);
    }
}

uint64_t environments_deadline(const struct engine *engine, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < engine->environment_count; i++) {
        const struct environment *environment = &engine->environments[i];
        uint64_t idle = environment->needed_us + environment->idle_us;
        if (!environment->zygote.child.pid && environment_is_needed(engine, environment, now))
            next = environment->zygote.child.retry_us < next ? environment->zygote.child.retry_us : next;
        if (!environment->number || !environment->zygote.child.pid)
            continue;
        next = engine->memory_look_us < next ? engine->memory_look_us : next;
        if (!environment->warm && idle > now && idle < next)
            next = idle;
    }
    return next;
}

/* ---- to the front ---- */

/* The first parts of the modules' names: "matplotlib" of "matplotlib.pyplot". */
static void put_tops(const char *modules, char tops[ENVIRONMENT_MODULES])
{
    size_t length = 0;
    *tops = 0;
    for (const char *at = modules; *at; at += strspn(at, " ")) {
        size_t top = strcspn(at, ". ");
        if (!has_word(tops, at, top))
            length += (size_t)snprintf(tops + length, ENVIRONMENT_MODULES - length, "%.*s ", (int)top, at);
        at += strcspn(at, " ");
    }
}

void environments_offer(const struct engine *engine, struct environment_offers *offers)
{
    *offers = (struct environment_offers){0};
    for (size_t i = 0; i < engine->environment_count; i++) {
        const struct environment *environment = &engine->environments[i];
        struct environment_offer *offer = &offers->rows[i];
        *offer = (struct environment_offer){.limits = environment->made_for.limits};
        if (!environment->larger) {
            offer->offered = environment->offered;
            memcpy(offer->name, environment->name, sizeof offer->name);
        }
        if (environment_is_warmer(environment, &engine->environments[ENVIRONMENT_DEFAULT]) &&
            environment->made_for.modules[0] && !engine->front_once) {
            offer->warmer = true;
            put_tops(environment->made_for.modules, offer->modules);
        }
    }
}
