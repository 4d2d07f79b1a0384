#include "limit.h"

#include "scope.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

const struct limit_row limit_table[LIMIT_COUNT] = {
    [LIMIT_WALL] = {"wall_ms", UNIT_MILLISECONDS, 10000, 1, 86400000, true, "time limit exceeded",
                    "wall-clock time from the script's start"},
    [LIMIT_CPU] = {"cpu_ms", UNIT_MILLISECONDS, 10000, 1, 86400000, true, "CPU time limit exceeded",
                   "CPU time of all of a run's processes and threads together"},
    [LIMIT_MEMORY] = {"memory_bytes", UNIT_BYTES, 256 * MIB, 16 * MIB, 1024 * GIB, true, "memory limit exceeded",
                      "memory of the whole run, with its files, shared memory and pipes where a cgroup holds"},
    [LIMIT_PROCESSES] = {"processes", UNIT_COUNT, 64, 1, 4096, true, "process limit exceeded",
                         "processes and threads of a run together"},
    [LIMIT_OUTPUT] = {"output_bytes", UNIT_BYTES, 1 * MIB, 1, 256 * MIB, true, "output limit exceeded",
                      "bytes kept of stdout, and as many of stderr; eight times as much kills the run"},
    [LIMIT_DISK] = {"disk_bytes", UNIT_BYTES, 64 * MIB, 64 * KIB, 64 * GIB, true, "disk limit exceeded",
                    "bytes of the run's own file system (working directory, /tmp, /dev/shm)"},
    [LIMIT_INODES] = {"inodes", UNIT_COUNT, 4096, 64, 1048576, false, "file count limit exceeded",
                      "files and directories in the run's own file system"},
    [LIMIT_OPEN_FILES] = {"open_files", UNIT_COUNT, 256, 16, 65536, false, "open file limit exceeded",
                          "open descriptors of each process of a run"},
    [LIMIT_REQUEST] = {"request_bytes", UNIT_BYTES, 8 * MIB, 1 * KIB, 1 * GIB, false, "request too large",
                       "bytes of a request's body"},
    [LIMIT_RESULT] = {"result_bytes", UNIT_BYTES, 8 * MIB, 1 * KIB, 1 * GIB, false, "result limit exceeded",
                      "bytes of the result as JSON; the returned files together may have as many"},
};

void limits_default(struct limits *limits)
{
    for (int i = 0; i < LIMIT_COUNT; i++)
        limits->value[i] = limit_table[i].initial;
}

static void milliseconds_text(uint64_t value, char *text, size_t size)
{
    unsigned rest = (unsigned)(value % 1000);
    int digits = 3;
    if (rest == 0) {
        snprintf(text, size, "%" PRIu64 " s", value / 1000);
        return;
    }
    while (rest % 10 == 0) {
        rest /= 10;
        digits--;
    }
    snprintf(text, size, "%" PRIu64 ".%0*u s", value / 1000, digits, rest);
}

static void bytes_text(uint64_t value, char *text, size_t size)
{
    static const struct {
        uint64_t bytes;
        const char *name;
    } units[] = {{GIB, "GiB"}, {MIB, "MiB"}, {KIB, "KiB"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (value >= units[i].bytes && value % units[i].bytes == 0) {
            snprintf(text, size, "%" PRIu64 " %s", value / units[i].bytes, units[i].name);
            return;
        }
    }
    snprintf(text, size, "%" PRIu64 " bytes", value);
}

char *unit_text(enum unit unit, uint64_t value, char *text, size_t size)
{
    switch (unit) {
    case UNIT_MILLISECONDS:
        milliseconds_text(value, text, size);
        break;
    case UNIT_BYTES:
        bytes_text(value, text, size);
        break;
    case UNIT_COUNT:
        snprintf(text, size, "%" PRIu64, value);
        break;
    }
    return text;
}

char *limit_text(enum limit limit, uint64_t value, char *text, size_t size)
{
    return unit_text(limit_table[limit].unit, value, text, size);
}

const char *const unit_words[] = {[UNIT_MILLISECONDS] = " (milliseconds, or with ms, s, min)",
                                  [UNIT_BYTES] = " (bytes, or with KiB, MiB, GiB)",
                                  [UNIT_COUNT] = ""};

static const struct {
    enum unit unit;
    const char *suffix;
    uint64_t factor;
} suffixes[] = {
    {UNIT_BYTES, "K", KIB},       {UNIT_BYTES, "KiB", KIB},       {UNIT_BYTES, "M", MIB},
    {UNIT_BYTES, "MiB", MIB},     {UNIT_BYTES, "G", GIB},         {UNIT_BYTES, "GiB", GIB},
    {UNIT_MILLISECONDS, "ms", 1}, {UNIT_MILLISECONDS, "s", 1000}, {UNIT_MILLISECONDS, "min", 60000},
};

int unit_parse(enum unit unit, const char *text, uint64_t *value)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    *value = strtoull(text, &end, 10);
    if (errno)
        return -1;
    while (*end == ' ')
        end++;
    if (!*end)
        return 0;
    for (size_t i = 0; i < COUNT(suffixes); i++) {
        if (suffixes[i].unit == unit && strcmp(end, suffixes[i].suffix) == 0)
            return __builtin_mul_overflow(*value, suffixes[i].factor, value) ? -1 : 0;
    }
    return -1;
}

char *limit_exceeded(enum limit limit, const struct limits *limits, char *text, size_t size)
{
    char value[40];
    snprintf(text, size, "%s: %s", limit_table[limit].exceeded,
             limit_text(limit, limits->value[limit], value, sizeof value));
    return text;
}
