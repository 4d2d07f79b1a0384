#include "settings.h"

#include "jail.h"
#include "log.h"
#include "origins.h"
#include "scope.h"
#include "setting_rows.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

extern char **environ;

const struct setting_row setting_rows[] = {
#define AT(field) offsetof(struct settings, field)
    {"listen", KIND_LIST, AT(listen), "127.0.0.1:8080", 0, 0,
     "ADDRESS:PORT, [ADDRESS]:PORT, tls:ADDRESS:PORT or unix:PATH; up to 8 times"},
    {"tls_certificate", KIND_TEXT, AT(tls_certificate), NULL, 0, 0,
     "PEM file with the certificate, and its chain, of the addresses that begin with tls:", true},
    {"tls_key", KIND_TEXT, AT(tls_key), NULL, 0, 0, "PEM file with its private key", true},
    {"python", KIND_TEXT, AT(python), "/usr/bin/python3", 0, 0,
     "the CPython (3.9 or later, a venv's too) that runs scripts"},
    {"engine", KIND_ENGINE, AT(engine), "clone", 0, 0,
     "what makes a run's namespaces and root: clone (of a warm interpreter), or bubblewrap or nsjail, started for each "
     "run"},
    {"bubblewrap", KIND_TEXT, AT(bubblewrap), "bwrap", 0, 0,
     "the program, for engine = bubblewrap: a path, or a name on PATH"},
    {"nsjail", KIND_TEXT, AT(nsjail), "nsjail", 0, 0, "the program (3.4 or later), for engine = nsjail: likewise"},
    {"nsjail_config", KIND_TEXT, AT(nsjail_config), NULL, 0, 0,
     "a configuration of your own for it (default: the shipped nsjail.cfg)"},
    {"box_directory", KIND_TEXT, AT(box_directory), NULL, 0, 0,
     "where runs work when no tmpfs can be mounted for them (default: /dev/shm, /tmp or /var/tmp)"},
    {"pool", KIND_COUNT, AT(pool), NULL, 1, SETTINGS_POOL_MOST,
     "jails kept waiting for a request (default: by cores and memory)", true},
    {"concurrency", KIND_COUNT, AT(concurrency), NULL, 1, SETTINGS_CONCURRENCY_MOST,
     "runs at once (default: by cores and memory)", true},
    {"queue", KIND_COUNT, AT(queue), "1000", 1, SETTINGS_QUEUE_MOST,
     "requests that may wait for a free place; more get 429", true},
    {"queue_timeout_ms", KIND_MILLISECONDS, AT(queue_timeout_ms), "60s", 10, 3600000,
     "a request that has waited for this long gets 429", true},
    {"keys_file", KIND_TEXT, AT(keys_file), NULL, 0, 0,
     "clients need a key of this file (see safe-script key; default: nobody needs one)", true},
    {"open_to_all", KIND_SWITCH, AT(open_to_all), "no", 0, 0,
     "yes: listen beyond this machine without keys, so that everybody may run scripts"},
    {"cors_origins", KIND_ORIGINS, AT(cors_origins), NULL, 0, 0,
     "sites whose pages may talk to this server: *, or https://HOST[:PORT] … (default: none)", true},
    {"grace_ms", KIND_MILLISECONDS, AT(grace_ms), "15s", 0, 3600000, "time that runs in flight get after SIGTERM",
     true},
    {"recycle_runs", KIND_COUNT, AT(recycle_runs), "5000", 1, 1000000000, "a zygote is replaced after this many runs",
     true},
    {"recycle_minutes", KIND_COUNT, AT(recycle_minutes), "30", 1, 525600, "… or after this many minutes", true},
    {"spare_bytes", KIND_BYTES, AT(spare_bytes), "64MiB", 0, UINT64_MAX / 2,
     "with less memory left, of the machine or of our cgroup, zygotes that no run needs are put away", true},
    {"connections", KIND_COUNT, AT(connections), "12000", 16, 100000,
     "open connections; past it the longest idle is closed", true},
    {"body_timeout_ms", KIND_MILLISECONDS, AT(body_timeout_ms), "30s", 100, 3600000,
     "a request must have arrived whole within this", true},
    {"idle_timeout_ms", KIND_MILLISECONDS, AT(idle_timeout_ms), "75s", 100, 86400000,
     "an idle connection is closed after this", true},
    {"buffered_bytes", KIND_BYTES, AT(buffered_bytes), "256MiB", 1048576, UINT64_MAX / 2,
     "requests held at once, in arrival and until their runs are over; more get 429", true},
    {"records_seconds", KIND_COUNT, AT(records_seconds), "600", 1, 86400,
     "how long the record of a streamed or asynchronous run can be asked for", true},
    {"records_bytes", KIND_BYTES, AT(records_bytes), "64MiB", 1048576, UINT64_MAX / 2,
     "memory for such records; past it the oldest go", true},
    {"heartbeat_ms", KIND_MILLISECONDS, AT(heartbeat_ms), "15s", 100, 3600000,
     "an event stream that is silent for so long gets a comment", true},
    {"walls", KIND_COUNT, AT(walls), "2", 1, 4,
     "layers that must stop each class of attack, else the server does not start"},
    {"log_level", KIND_LEVEL, AT(log_level), "info", 0, 0, "debug, info, warning or error", true},
    {"log_format", KIND_FORMAT, AT(log_format), "json", 0, 0, "json, or text for people", true},
#undef AT
};

const size_t setting_row_count = COUNT(setting_rows);

const struct setting_row environment_rows[] = {
#define AT(field) offsetof(struct environment_settings, field)
    {"python", KIND_TEXT, AT(python), NULL, 0, 0, "its interpreter (default: the server's)"},
    {"path", KIND_TEXT, AT(path), NULL, 0, 0,
     "DIRECTORY[:DIRECTORY …] with more packages, as pip install --target makes them; they come before the "
     "interpreter's own"},
    {"preload", KIND_TEXT, AT(preload), NULL, 0, 0,
     "modules that are imported before a script comes, as in: numpy pandas scipy.stats (default: in data what is "
     "installed of numpy, pandas and matplotlib, with a zygote for scripts that import the first one or two only)",
     true},
    {"warm", KIND_SWITCH, AT(warm), "no", 0, 0,
     "yes: its zygote is started with the server; no: when a script first needs it", true},
    {"pool", KIND_COUNT, AT(pool), NULL, 1, SETTINGS_POOL_MOST,
     "jails kept waiting while its zygote is up (default: half of the server's where that is set, else by cores)",
     true},
    {"idle_ms", KIND_MILLISECONDS, AT(idle_ms), "10min", 100, 86400000,
     "a zygote that no script has needed for so long is put away, unless warm is yes", true},
#undef AT
};

const size_t environment_row_count = COUNT(environment_rows);

static int refuse(struct settings *settings, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(struct settings *settings, const char *where, const char *format, ...)
{
    va_list arguments;
    int length = snprintf(settings->error, sizeof settings->error, "%s: ", where);
    va_start(arguments, format);
    if (length > 0 && (size_t)length < sizeof settings->error)
        vsnprintf(settings->error + length, sizeof settings->error - (size_t)length, format, arguments);
    va_end(arguments);
    return -1;
}

static int set_number(struct settings *settings, const char *where, enum unit unit, const char *text, uint64_t least,
                      uint64_t most, uint64_t *value)
{
    if (unit_parse(unit, text, value) || *value < least || *value > most)
        return refuse(settings, where, "\"%s\" is not a whole number from %" PRIu64 " to %" PRIu64 "%s", text, least,
                      most, unit_words[unit]);
    return 0;
}

/* The value is the place in names. */
static int set_choice(struct settings *settings, const char *where, const char *const names[], const char *text,
                      uint64_t *value)
{
    char all[128] = "";
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *value = i;
            return 0;
        }
        size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s%s", i ? ", " : "", names[i]);
    }
    return refuse(settings, where, "\"%s\" is not one of %s", text, all);
}

static const char *const switch_names[] = {"no", "yes", NULL};

const char *const *setting_choices(enum setting_kind kind)
{
    static const char *const *const names[] = {[KIND_SWITCH] = switch_names,
                                               [KIND_ENGINE] = engine_names,
                                               [KIND_LEVEL] = log_level_names,
                                               [KIND_FORMAT] = log_format_names};
    return kind < COUNT(names) ? names[kind] : NULL;
}

static int set_origins(struct settings *settings, const char *where, const char *text)
{
    char reason[300];
    const char *fault = origins_fault(text, reason, sizeof reason);
    settings->cors_origins = text;
    return fault ? refuse(settings, where, "%s", fault) : 0;
}

enum unit setting_unit(enum setting_kind kind)
{
    return kind == KIND_MILLISECONDS ? UNIT_MILLISECONDS : kind == KIND_BYTES ? UNIT_BYTES : UNIT_COUNT;
}

/* `owner` is what the row's offset is of. */
static int set_row(struct settings *settings, void *owner, const char *where, const struct setting_row *row,
                   const char *text, bool first)
{
    char *field = (char *)owner + row->offset;
    if (!*text)
        return refuse(settings, where, "needs a value");
    switch (row->kind) {
    case KIND_TEXT:
        *(const char **)(void *)field = text;
        return 0;
    case KIND_ORIGINS:
        return set_origins(settings, where, text);
    case KIND_LIST:
        if (first)
            settings->listen_count = 0;
        if (settings->listen_count == LISTEN_MOST)
            return refuse(settings, where, "at most %d addresses", LISTEN_MOST);
        settings->listen[settings->listen_count++] = text;
        return 0;
    case KIND_SWITCH:
        return set_choice(settings, where, switch_names, text, (uint64_t *)(void *)field);
    case KIND_ENGINE:
        return set_choice(settings, where, engine_names, text, (uint64_t *)(void *)field);
    case KIND_LEVEL:
        return set_choice(settings, where, log_level_names, text, (uint64_t *)(void *)field);
    case KIND_FORMAT:
        return set_choice(settings, where, log_format_names, text, (uint64_t *)(void *)field);
    case KIND_COUNT:
    case KIND_MILLISECONDS:
    case KIND_BYTES:
        break;
    }
    return set_number(settings, where, setting_unit(row->kind), text, row->least, row->most, (uint64_t *)(void *)field);
}

static int set_limit(struct settings *settings, struct limits *limits, const char *where, enum limit limit,
                     const char *text)
{
    const struct limit_row *row = &limit_table[limit];
    return set_number(settings, where, row->unit, text, row->least, row->most, &limits->value[limit]);
}

/* Compares key with a name in another spelling: '-' for '_' in flags, upper case in variables. */
static bool same(const char *key, const char *name, size_t length)
{
    if (strlen(key) != length)
        return false;
    for (size_t i = 0; i < length; i++) {
        int other = tolower((unsigned char)name[i]);
        if (key[i] != (other == '-' ? '_' : other))
            return false;
    }
    return true;
}

/* Returns 1 when there is no such setting. `seen` has a bit per row: whether this source has set it already. */
static int set(struct settings *settings, const char *where, bool limit, const char *name, size_t length,
               const char *text, uint64_t *seen)
{
    if (limit) {
        for (int i = 0; i < LIMIT_COUNT; i++) {
            if (same(limit_table[i].name, name, length))
                return text ? set_limit(settings, &settings->limits, where, (enum limit)i, text)
                            : refuse(settings, where, "needs a value");
        }
        return 1;
    }
    for (size_t i = 0; i < setting_row_count; i++) {
        if (!same(setting_rows[i].key, name, length))
            continue;
        if (!text)
            return refuse(settings, where, "needs a value");
        bool first = !(*seen & (UINT64_C(1) << i));
        *seen |= UINT64_C(1) << i;
        return set_row(settings, settings, where, &setting_rows[i], text, first);
    }
    return 1;
}

/* A copy of text that lives as long as the process, and only one of each: files are read again and again. NULL without
 * memory. */
static const char *intern(const char *text)
{
    static struct word {
        struct word *next;
        char text[];
    } * words;
    size_t size = strlen(text) + 1;
    struct word *word = words;
    while (word && strcmp(word->text, text) != 0)
        word = word->next;
    if (!word && (word = malloc(sizeof *word + size))) {
        memcpy(word->text, text, size);
        word->next = words;
        words = word;
    }
    return word ? word->text : NULL;
}

struct file {
    struct settings *settings;
    const char *path;
    uint64_t seen;
};

/* ---- environments ---- */

static bool name_is_fine(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    return length > 0 && length <= ENVIRONMENT_NAME && !name[length];
}

struct environment_settings *settings_add_environment(struct settings *settings, const char *name)
{
    if (settings->environment_count == ENVIRONMENTS_MOST)
        return NULL;
    struct environment_settings *environment = &settings->environments[settings->environment_count++];
    *environment = (struct environment_settings){.name = name};
    for (size_t i = 0; i < environment_row_count; i++) {
        if (environment_rows[i].initial)
            set_row(settings, environment, "default", &environment_rows[i], environment_rows[i].initial, true);
    }
    return environment;
}

static struct environment_settings *environment_named(struct settings *settings, const char *where, const char *name)
{
    for (size_t i = 0; i < settings->environment_count; i++) {
        if (strcmp(settings->environments[i].name, name) == 0)
            return &settings->environments[i];
    }
    const char *kept = intern(name);
    struct environment_settings *environment = NULL;
    if (!name_is_fine(name))
        refuse(settings, where, "an environment's name is of small letters, digits, - and _, at most %d",
               ENVIRONMENT_NAME);
    else if (kept && !(environment = settings_add_environment(settings, kept)))
        refuse(settings, where, "there are at most %d environments", ENVIRONMENTS_MOST);
    else if (!kept)
        refuse(settings, where, "out of memory");
    return environment;
}

/* Modules and directories have to fit the messages that they travel in. */
static int check_environment(struct settings *settings, const char *where, const struct environment_settings *one)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_. ,";
    if (one->preload &&
        (strlen(one->preload) >= ENVIRONMENT_MODULES - 1 || one->preload[strspn(one->preload, letters)]))
        return refuse(settings, where, "\"%s\" is not a list of modules, as in: numpy pandas scipy.stats",
                      one->preload);
    if (one->path && *one->path != '/')
        return refuse(settings, where, "\"%s\" is not an absolute path", one->path);
    return 0;
}

/* As set(), for one section of [environment NAME]. */
static int set_environment(struct settings *settings, const char *where, const char *environment_name, const char *name,
                           const char *text)
{
    struct environment_settings *environment = environment_named(settings, where, environment_name);
    if (!environment)
        return -1;
    for (size_t i = 0; i < environment_row_count; i++) {
        if (strcmp(environment_rows[i].key, name) == 0)
            return set_row(settings, environment, where, &environment_rows[i], text, true)
                       ? -1
                       : check_environment(settings, where, environment);
    }
    for (int i = 0; i < LIMIT_COUNT; i++) {
        if (strcmp(limit_table[i].name, name) != 0)
            continue;
        if (!limit_table[i].by_request)
            return refuse(settings, where, "is the server's, for all environments: set it in [limits]");
        environment->limits_set |= UINT32_C(1) << i;
        return set_limit(settings, &environment->limits, where, (enum limit)i, text);
    }
    return 1;
}

/* Those that a section has not set are the server's. */
static void share_limits(struct settings *settings)
{
    for (size_t i = 0; i < settings->environment_count; i++) {
        struct environment_settings *environment = &settings->environments[i];
        for (int j = 0; j < LIMIT_COUNT; j++) {
            if (!(environment->limits_set & (UINT32_C(1) << j)))
                environment->limits.value[j] = settings->limits.value[j];
        }
    }
}

struct limits settings_limits_most(const struct settings *settings)
{
    struct limits most = settings->limits;
    for (size_t i = 0; i < settings->environment_count; i++) {
        for (int j = 0; j < LIMIT_COUNT; j++) {
            uint64_t value = settings->environments[i].limits.value[j];
            most.value[j] = value > most.value[j] ? value : most.value[j];
        }
    }
    return most;
}

/* inih: returns nonzero for success, and stops at the first line that gives 0. */
static int on_file_entry(void *user, const char *section, const char *name, const char *value)
{
    struct file *file = user;
    struct settings *settings = file->settings;
    char where[256];
    snprintf(where, sizeof where, "%s: [%s] %s", file->path, section, name);
    static const char environment[] = "environment ";
    bool limit = strcmp(section, "limits") == 0,
         of_environment = strncmp(section, environment, strlen(environment)) == 0;
    if (!limit && !of_environment && strcmp(section, "server") != 0) {
        refuse(settings, where, "unknown section (there are [server], [limits] and [environment NAME])");
        return 0;
    }
    const char *kept = intern(value);
    if (!kept) {
        refuse(settings, where, "out of memory");
        return 0;
    }
    int result = of_environment ? set_environment(settings, where, section + strlen(environment), name, kept)
                                : set(settings, where, limit, name, strlen(name), kept, &file->seen);
    if (result > 0)
        refuse(settings, where, "unknown setting");
    return result == 0;
}

static int load_file(struct settings *settings, const char *path)
{
    struct file file = {.settings = settings, .path = path};
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return refuse(settings, path, "%s", strerror(EISDIR));
    int line = ini_parse(path, on_file_entry, &file);
    if (line == 0)
        return 0;
    if (line < 0)
        return refuse(settings, path, "%s", line == -1 ? strerror(errno) : "out of memory");
    if (!*settings->error)
        refuse(settings, path, "not \"key = value\"");
    size_t length = strlen(settings->error);
    snprintf(settings->error + length, sizeof settings->error - length, " (line %d)", line);
    return -1;
}

static int load_environment(struct settings *settings)
{
    static const char prefix[] = "SAFE_SCRIPT_", limits[] = "LIMITS_";
    uint64_t seen = 0;
    const char *port = getenv("PORT");
    if (port && *port) {
        if (set_number(settings, "PORT", UNIT_COUNT, port, 1, 65535, &settings->port))
            return -1;
        settings->listen_count = 0;
    }
    for (char **variable = environ; *variable; variable++) {
        const char *name = *variable;
        const char *value = strchr(name, '=');
        if (strncmp(name, prefix, sizeof prefix - 1) != 0 || !value)
            continue;
        char where[128];
        snprintf(where, sizeof where, "%.*s", (int)(value - name), name);
        name += sizeof prefix - 1;
        if (strncmp(name, "CONFIG=", 7) == 0)
            continue;
        bool limit = strncmp(name, limits, sizeof limits - 1) == 0;
        if (limit)
            name += sizeof limits - 1;
        int result = set(settings, where, limit, name, (size_t)(value - name), value + 1, &seen);
        if (result)
            return result > 0 ? refuse(settings, where, "unknown setting") : -1;
    }
    return 0;
}

/* One flag, "--name value" or "--name=value"; *at is moved past a separate value. Returns 1 when it is no setting. */
static int load_flag(struct settings *settings, int argc, char **argv, int *at, uint64_t *seen)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    bool limit = strncmp(name, "limits.", 7) == 0;
    const char *value = equals ? equals + 1 : *at + 1 < argc ? argv[*at + 1] : NULL;
    char where[128];
    snprintf(where, sizeof where, "--%.*s", (int)length, name);
    int result = limit ? set(settings, where, true, name + 7, length - 7, value, seen)
                       : set(settings, where, false, name, length, value, seen);
    if (result == 0 && !equals)
        *at += 1;
    return limit && result > 0 ? refuse(settings, where, "unknown limit") : result;
}

static int load_flags(struct settings *settings, int argc, char **argv, struct rest *rest)
{
    uint64_t seen = 0;
    *rest = (struct rest){.argument = argv, .count = 0};
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--check-config") == 0) {
            settings->check_config = true;
            continue;
        }
        if (strcmp(argv[i], "--config") == 0) {
            i++; /* read before */
            continue;
        }
        if (strncmp(argv[i], "--config=", 9) == 0)
            continue;
        int result = strncmp(argv[i], "--", 2) == 0 ? load_flag(settings, argc, argv, &i, &seen) : 1;
        if (result < 0)
            return -1;
        if (result > 0)
            rest->argument[rest->count++] = argv[i];
    }
    return 0;
}

static const char *config_path(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0)
            return i + 1 < argc ? argv[i + 1] : "";
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
    }
    return getenv("SAFE_SCRIPT_CONFIG");
}

/* The convention of containers and clouds: only the port is given. */
static int listen_on_port(struct settings *settings)
{
    char address[40];
    bool beyond = settings->open_to_all || settings->keys_file;
    snprintf(address, sizeof address, "%s:%" PRIu64, beyond ? "0.0.0.0" : "127.0.0.1", settings->port);
    settings->listen[0] = intern(address);
    settings->listen_count = 1;
    return settings->listen[0] ? 0 : refuse(settings, "PORT", "out of memory");
}

int settings_load(struct settings *settings, int argc, char **argv, struct rest *rest)
{
    *settings = (struct settings){0};
    limits_default(&settings->limits);
    for (size_t i = 0; i < setting_row_count; i++) {
        if (setting_rows[i].initial &&
            set_row(settings, settings, "default", &setting_rows[i], setting_rows[i].initial, true))
            return -1;
    }
    const char *path = config_path(argc, argv);
    if (path && (*path ? load_file(settings, path) : refuse(settings, "--config", "needs a value")))
        return -1;
    if (load_environment(settings))
        return -1;
    if (load_flags(settings, argc, argv, rest))
        return -1;
    share_limits(settings);
    return settings->listen_count ? 0 : listen_on_port(settings);
}

static bool row_differs(const struct setting_row *row, const struct settings *one, const struct settings *other)
{
    const char *field = (const char *)one + row->offset, *with = (const char *)other + row->offset;
    if (row->kind == KIND_TEXT) {
        const char *text = *(const char *const *)(const void *)field,
                   *other_text = *(const char *const *)(const void *)with;
        return text != other_text && (!text || !other_text || strcmp(text, other_text) != 0);
    }
    if (row->kind != KIND_LIST)
        return memcmp(field, with, sizeof(uint64_t)) != 0;
    bool differs = one->listen_count != other->listen_count;
    for (size_t i = 0; !differs && i < one->listen_count; i++)
        differs = strcmp(one->listen[i], other->listen[i]) != 0;
    return differs;
}

void settings_keep_fixed(struct settings *fresh, const struct settings *old, void (*changed)(const char *key))
{
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting_row *row = &setting_rows[i];
        if (row->live || !row_differs(row, fresh, old))
            continue;
        changed(row->key);
        size_t size = row->kind == KIND_LIST   ? sizeof fresh->listen
                      : row->kind == KIND_TEXT ? sizeof(const char *)
                                               : sizeof(uint64_t);
        memcpy((char *)fresh + row->offset, (const char *)old + row->offset, size);
        if (row->kind == KIND_LIST)
            fresh->listen_count = old->listen_count;
    }
}
