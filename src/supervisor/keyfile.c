#include "keyfile.h"

#include "frames.h"
#include "scope.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

static int refuse(struct key_list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct key_list *list, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(list->error, sizeof list->error, format, arguments);
    va_end(arguments);
    return -1;
}

/* ---- the fields ---- */

static int parse_count(const char *text, uint32_t most, uint32_t *value)
{
    uint64_t number;
    if (unit_parse(UNIT_COUNT, text, &number) || number < 1 || number > most)
        return -1;
    *value = (uint32_t)number;
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int set_hash(struct key *key, const char *text)
{
    for (size_t i = 0; i < DIGEST_BYTES; i++, text += 2) {
        int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return -1;
        key->hash[i] = (uint8_t)(high << 4 | low);
    }
    return *text ? -1 : 0;
}

static int set_created(struct key *key, const char *text)
{
    struct tm date = {0};
    const char *end = strptime(text, "%Y-%m-%d", &date);
    if (!end || *end || strlen(text) != sizeof key->created - 1)
        return -1;
    memcpy(key->created, text, sizeof key->created);
    return 0;
}

static int set_concurrency(struct key *key, const char *text)
{
    return parse_count(text, 4096, &key->concurrency);
}

static const struct {
    const char *name;
    uint64_t us;
} periods[] = {{"s", 1000000}, {"min", 60000000}, {"h", UINT64_C(3600000000)}};

enum { RATE_MOST = 1000000 };

static int set_rate(struct key *key, const char *text)
{
    char number[16];
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof number)
        return -1;
    snprintf(number, sizeof number, "%.*s", (int)(slash - text), text);
    for (size_t i = 0; i < COUNT(periods); i++) {
        if (strcmp(slash + 1, periods[i].name) == 0) {
            key->period_us = periods[i].us;
            return parse_count(number, RATE_MOST, &key->rate);
        }
    }
    return -1;
}

static int set_burst(struct key *key, const char *text)
{
    return parse_count(text, RATE_MOST, &key->burst);
}

static const struct {
    const char *name;
    int (*set)(struct key *key, const char *text);
    const char *wanted; /* what an error says that it must be */
    const char *help;   /* NULL: not for people to set */
} rows[] = {
    {"sha256", set_hash, "64 hexadecimal digits in lower case", NULL},
    {"created", set_created, "a date such as 2026-11-23", NULL},
    {"concurrency", set_concurrency, "a whole number from 1 to 4096", "runs of this key at once; more wait"},
    {"rate", set_rate, "a number of runs in a time: 10/s, 100/min or 1000/h", "runs in a time: 10/s, 100/min, 1000/h"},
    {"burst", set_burst, "a whole number from 1 to 1000000", "runs at once after a pause (default: the rate's number)"},
};

enum { HASH_ROW = 0 };

static const char limit_prefix[] = "limits.";

void keyfile_print_fields(FILE *out)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].help)
            fprintf(out, "  %-26s%s\n", rows[i].name, rows[i].help);
    }
    for (int i = 0; i < LIMIT_COUNT; i++) {
        char name[48];
        snprintf(name, sizeof name, "%s%s", limit_prefix, limit_table[i].name);
        if (limit_table[i].by_request)
            fprintf(out, "  %-26s%s; at most the server's\n", name, limit_table[i].help);
    }
}

char *keyfile_fields(const struct key *key, const struct limits *server, char *text, size_t size)
{
    size_t used = 0;
    *text = 0;
#define ADD(...) used += used < size ? (size_t)snprintf(text + used, size - used, __VA_ARGS__) : 0
    if (key->concurrency != UINT32_MAX)
        ADD(", concurrency = %u", key->concurrency);
    for (size_t i = 0; key->rate && i < COUNT(periods); i++) {
        if (periods[i].us == key->period_us)
            ADD(", rate = %u/%s, burst = %u", key->rate, periods[i].name, key->burst);
    }
    for (int i = 0; i < LIMIT_COUNT; i++) {
        char value[40];
        if (key->limits.value[i] != server->value[i])
            ADD(", %s%s = %s", limit_prefix, limit_table[i].name,
                limit_text((enum limit)i, key->limits.value[i], value, sizeof value));
    }
#undef ADD
    return *text ? text + strlen(", ") : text;
}

/* ---- reading ---- */

#define BAD_NAME "%s: \"%.64s\" is no name for a key: 1 to %d letters, digits, '.', '_' and '-'"

struct reading {
    struct key_list *list;
    const char *path;
    const struct limits *server;
    uint32_t seen; /* rows that the last key has, and its limits */
    uint32_t seen_limits;
};

static int set_limit(const struct reading *reading, struct key *key, enum limit limit, const char *text)
{
    const struct limit_row *row = &limit_table[limit];
    uint64_t most = reading->server->value[limit], value;
    char shown[40];
    if (unit_parse(row->unit, text, &value) == 0 && value >= row->least && value <= most) {
        key->limits.value[limit] = value;
        return 0;
    }
    return refuse(reading->list, "%s: [%s] %s%s: \"%s\" is not a whole number from %" PRIu64 " to the server's %s%s",
                  reading->path, key->id, limit_prefix, row->name, text, row->least,
                  limit_text(limit, most, shown, sizeof shown), unit_words[row->unit]);
}

static int set_field(struct reading *reading, struct key *key, const char *name, const char *text)
{
    static const char twice[] = "%s: [%s] %s stands there twice";
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        if (reading->seen & (UINT32_C(1) << i))
            return refuse(reading->list, twice, reading->path, key->id, name);
        reading->seen |= UINT32_C(1) << i;
        return rows[i].set(key, text) == 0 ? 0
                                           : refuse(reading->list, "%s: [%s] %s: \"%s\" is not %s", reading->path,
                                                    key->id, name, text, rows[i].wanted);
    }
    bool limit = strncmp(name, limit_prefix, sizeof limit_prefix - 1) == 0;
    for (int i = 0; limit && i < LIMIT_COUNT; i++) {
        if (!limit_table[i].by_request || strcmp(limit_table[i].name, name + sizeof limit_prefix - 1) != 0)
            continue;
        if (reading->seen_limits & (UINT32_C(1) << i))
            return refuse(reading->list, twice, reading->path, key->id, name);
        reading->seen_limits |= UINT32_C(1) << i;
        return set_limit(reading, key, (enum limit)i, text);
    }
    return refuse(reading->list, "%s: [%s] %s: unknown field", reading->path, key->id, name);
}

/* What a key must have, once all of it is read. */
static int end_key(struct reading *reading)
{
    struct key *key = reading->list->count ? &reading->list->keys[reading->list->count - 1] : NULL;
    if (!key)
        return 0;
    if (!(reading->seen & (UINT32_C(1) << HASH_ROW)))
        return refuse(reading->list, "%s: [%s] has no sha256", reading->path, key->id);
    if (key->burst && !key->rate)
        return refuse(reading->list, "%s: [%s] burst goes with rate", reading->path, key->id);
    key->burst = key->burst ? key->burst : key->rate;
    reading->seen = reading->seen_limits = 0;
    return 0;
}

static int begin_key(struct reading *reading, const char *id)
{
    struct key_list *list = reading->list;
    if (end_key(reading))
        return -1;
    if (!key_id_fine(id))
        return refuse(list, BAD_NAME, reading->path, id, KEY_ID_BYTES);
    if (list->count == KEYS_MOST)
        return refuse(list, "%s: more than %d keys", reading->path, KEYS_MOST);
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->keys[i].id, id) == 0)
            return refuse(list, "%s: [%s] stands there twice", reading->path, id);
    }
    struct key *key = &list->keys[list->count++];
    *key = (struct key){.concurrency = UINT32_MAX, .limits = *reading->server};
    snprintf(key->id, sizeof key->id, "%s", id);
    return 0;
}

/* inih: returns nonzero for success, and stops at the first line that gives 0. */
static int on_entry(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    struct key_list *list = reading->list;
    if (!list->count || strcmp(list->keys[list->count - 1].id, section) != 0) {
        if (begin_key(reading, section))
            return 0;
    }
    return set_field(reading, &list->keys[list->count - 1], name, value) == 0;
}

static int by_hash(const void *one, const void *other)
{
    return memcmp(((const struct key *)one)->hash, ((const struct key *)other)->hash, DIGEST_BYTES);
}

/* Two names for one key would be one client with the shares of two. */
static int check_hashes(const struct reading *reading)
{
    struct key_list *list = reading->list;
    qsort(list->keys, list->count, sizeof *list->keys, by_hash);
    for (size_t i = 1; i < list->count; i++) {
        if (by_hash(&list->keys[i - 1], &list->keys[i]) == 0)
            return refuse(list, "%s: [%s] and [%s] are the same key", reading->path, list->keys[i - 1].id,
                          list->keys[i].id);
    }
    return 0;
}

static int read_keys(FILE *file, struct reading *reading)
{
    struct key_list *list = reading->list;
    list->keys = calloc(KEYS_MOST, sizeof *list->keys);
    if (!list->keys)
        return refuse(list, "%s: out of memory", reading->path);
    int line = ini_parse_file(file, on_entry, reading);
    if (line < 0)
        return refuse(list, "%s: %s", reading->path, line == -1 ? strerror(errno) : "out of memory");
    if (line == 0)
        return end_key(reading) || check_hashes(reading) ? -1 : 0;
    if (!*list->error)
        refuse(list, "%s: not \"field = value\"", reading->path);
    size_t length = strlen(list->error);
    snprintf(list->error + length, sizeof list->error - length, " (line %d)", line);
    return -1;
}

/* `shown` is the path that errors name. */
static int load(const char *path, const char *shown, const struct limits *server, struct key_list *list)
{
    struct reading reading = {.list = list, .path = shown, .server = server};
    struct stat info;
    *list = (struct key_list){0};
    FILE *file = fopen(path, "re");
    if (!file)
        return refuse(list, "%s: %s", shown, strerror(errno));
    int result = -1;
    if (fstat(fileno(file), &info) || !S_ISREG(info.st_mode))
        refuse(list, "%s: not a file", shown);
    else if (info.st_mode & S_IWOTH)
        refuse(list, "%s can be written by everybody: chmod 600 it", shown);
    else
        result = read_keys(file, &reading);
    fclose(file);
    if (result) {
        free(take(list->keys));
        list->count = 0;
    }
    return result;
}

int keyfile_load(const char *path, const struct limits *server, struct key_list *list)
{
    return load(path, path, server, list);
}

/* ---- writing ---- */

/* A file under change: its directory is locked, so that one process at a time changes it. */
struct change {
    char path[PATH_MAX], fresh[PATH_MAX + 8];
    int lock;
    bool exists;
    struct stat info;
    struct buffer text;
};

static int change_begin(struct change *change, const char *path, struct key_list *list)
{
    char bytes[4096], directory[PATH_MAX];
    ssize_t length = 0;
    *change = (struct change){.lock = -1};
    *list = (struct key_list){0};
    /* Through links: it is the file itself that is replaced. */
    if (!realpath(path, change->path) && (errno != ENOENT || snprintf(change->path, PATH_MAX, "%s", path) >= PATH_MAX))
        return refuse(list, "%s: %s", path, strerror(errno));
    const char *slash = strrchr(change->path, '/');
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - change->path) + 1 : 1,
             slash ? change->path : ".");
    snprintf(change->fresh, sizeof change->fresh, "%s.new", change->path);
    change->lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (change->lock < 0 || flock(change->lock, LOCK_EX))
        return refuse(list, "%s: %s", directory, strerror(errno));
    auto_fd int fd = open(change->path, O_RDONLY | O_CLOEXEC);
    change->exists = fd >= 0;
    if (change->exists ? fstat(fd, &change->info) : errno != ENOENT)
        return refuse(list, "%s: %s", path, strerror(errno));
    while (fd >= 0 && (length = read(fd, bytes, sizeof bytes)) > 0)
        buffer_append(&change->text, bytes, (size_t)length);
    return length < 0 || change->text.failed ? refuse(list, "%s: cannot be read", path) : 0;
}

static void change_end(struct change *change)
{
    drop_fd(&change->lock);
    buffer_free(&change->text);
}

static int write_fresh(const struct change *change, const struct buffer *text)
{
    unlink(change->fresh); /* of one that did not come to its end */
    auto_fd int fd = open(change->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || text->failed)
        return -1;
    if (change->exists && (fchown(fd, change->info.st_uid, change->info.st_gid) ||
                           fchmod(fd, change->info.st_mode & (S_IRWXU | S_IRWXG))))
        return -1;
    return write(fd, text->bytes, text->length) == (ssize_t)text->length && fsync(fd) == 0 ? 0 : -1;
}

/* Puts text in the file's place, if it is one that the server would take. */
static int change_commit(const struct change *change, const struct buffer *text, const struct limits *server,
                         struct key_list *list)
{
    if (write_fresh(change, text)) {
        refuse(list, "%s: %s", change->fresh, strerror(errno));
    } else if (load(change->fresh, change->path, server, list) == 0) {
        free(take(list->keys));
        if (rename(change->fresh, change->path) == 0 && fsync(change->lock) == 0)
            return 0;
        refuse(list, "%s: %s", change->path, strerror(errno));
    }
    unlink(change->fresh);
    return -1;
}

static int append_key(struct buffer *text, const char *id, char *const fields[], size_t count, char *key,
                      struct key_list *list)
{
    uint8_t hash[DIGEST_BYTES];
    char created[16], digits[DIGEST_HEX + 1];
    time_t now = time(NULL);
    struct tm utc;
    if (key_draw(key))
        return refuse(list, "no random numbers for a key");
    digest_sha256((struct span){(const uint8_t *)key, KEY_TEXT_BYTES}, hash);
    strftime(created, sizeof created, "%Y-%m-%d", gmtime_r(&now, &utc));
    bool glued = text->length && text->bytes[text->length - 1] != '\n';
    buffer_print(text, "%s%s[%s]\nsha256 = %s\ncreated = %s\n", glued ? "\n" : "", text->length ? "\n" : "", id,
                 digest_hex(hash, digits), created);
    for (size_t i = 0; i < count; i++) {
        const char *equals = strchr(fields[i], '=');
        if (!equals || strpbrk(fields[i], "\r\n"))
            return refuse(list, "\"%s\" is not FIELD=VALUE", fields[i]);
        buffer_print(text, "%.*s = %s\n", (int)(equals - fields[i]), fields[i], equals + 1);
    }
    return 0;
}

/* The line, without white space around it, is the head of this key's section. */
static bool heads(struct span line, const char *id)
{
    size_t length = strlen(id);
    return line.length == length + 2 && line.bytes[0] == '[' && memcmp(line.bytes + 1, id, length) == 0 &&
           line.bytes[length + 1] == ']';
}

static struct span trimmed(struct span line)
{
    while (line.length && isspace(line.bytes[0])) {
        line.bytes++;
        line.length--;
    }
    while (line.length && isspace(line.bytes[line.length - 1]))
        line.length--;
    return line;
}

/* Copies text without the lines of this key's section; comments stay. Returns whether there was one. */
static bool copy_without(struct span text, const char *id, struct buffer *out)
{
    bool found = false, inside = false;
    while (text.length) {
        const uint8_t *end = memchr(text.bytes, '\n', text.length);
        struct span line = {text.bytes, end ? (size_t)(end - text.bytes) + 1 : text.length}, words = trimmed(line);
        if (words.length && words.bytes[0] == '[')
            inside = heads(words, id);
        found |= inside;
        bool comment = words.length && (words.bytes[0] == '#' || words.bytes[0] == ';');
        if (!inside || comment)
            buffer_append(out, line.bytes, line.length);
        text.bytes += line.length;
        text.length -= line.length;
    }
    return found;
}

int keyfile_add(const char *path, const struct limits *server, const char *id, char *const fields[], size_t count,
                char text[KEY_TEXT_BYTES + 1], struct key_list *list)
{
    struct change change;
    struct buffer without = {0};
    int result = change_begin(&change, path, list);
    if (result == 0 && !key_id_fine(id))
        result = refuse(list, BAD_NAME, path, id, KEY_ID_BYTES);
    if (result == 0 && copy_without((struct span){change.text.bytes, change.text.length}, id, &without))
        result = refuse(list, "%s has a key \"%s\" already", path, id);
    if (result == 0)
        result = append_key(&change.text, id, fields, count, text, list);
    if (result == 0)
        result = change_commit(&change, &change.text, server, list);
    buffer_free(&without);
    change_end(&change);
    return result;
}

int keyfile_remove(const char *path, const struct limits *server, const char *id, struct key_list *list)
{
    struct change change;
    struct buffer without = {0};
    int result = change_begin(&change, path, list);
    if (result == 0 && !copy_without((struct span){change.text.bytes, change.text.length}, id, &without))
        result = refuse(list, "%s has no key \"%s\"", path, id);
    if (result == 0)
        result = change_commit(&change, &without, server, list);
    buffer_free(&without);
    change_end(&change);
    return result;
}
