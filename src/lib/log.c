#include "log.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048 };

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char *log_process = "safe-script";
static enum log_level log_least = LOG_INFO;

struct line {
    char text[LINE_BYTES];
    size_t length;
};

void log_open(const char *process, enum log_level least)
{
    log_process = process;
    log_least = least;
}

static void put(struct line *line, const char *text, size_t length)
{
    /* Room is kept for what closes the line, so that a long field never breaks its JSON. */
    if (line->length + length < LINE_BYTES - 16) {
        memcpy(line->text + line->length, text, length);
        line->length += length;
    }
}

static void put_string(struct line *line, const char *text)
{
    put(line, "\"", 1);
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        char escape[8];
        if (byte == '"' || byte == '\\')
            put(line, (char[]){'\\', *text}, 2);
        else if (byte < 0x20 || byte == 0x7f)
            put(line, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", byte));
        else if (byte >= 0x80) /* our own words are ASCII; a path or address may not be, and may be cut anywhere */
            put(line, "?", 1);
        else if (line->length < LINE_BYTES - 64)
            put(line, text, 1);
    }
    line->text[line->length++] = '"';
}

static void put_number(struct line *line, int64_t number)
{
    char text[24];
    put(line, text, (size_t)snprintf(text, sizeof text, "%" PRId64, number));
}

void log_line(enum log_level level, const char *event, const struct log_field *fields)
{
    struct line line = {.length = 0};
    struct timespec now;
    struct tm utc;
    char stamp[40];
    if (level < log_least)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t length = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    length += (size_t)snprintf(stamp + length, sizeof stamp - length, ".%03ldZ", now.tv_nsec / 1000000);
    put(&line, "{\"time\":\"", 9);
    put(&line, stamp, length);
    put(&line, "\",\"level\":\"", 11);
    put(&line, level_names[level], strlen(level_names[level]));
    put(&line, "\",\"process\":", 12);
    put_string(&line, log_process);
    put(&line, ",\"event\":", 9);
    put_string(&line, event);
    for (; fields->name; fields++) {
        if (line.length > LINE_BYTES - 256)
            break;
        put(&line, ",", 1);
        put_string(&line, fields->name);
        put(&line, ":", 1);
        if (fields->text)
            put_string(&line, fields->text);
        else
            put_number(&line, fields->number);
    }
    memcpy(line.text + line.length, "}\n", 2);
    /* A log that nobody reads any more (a closed terminal) must not stop the service. */
    if (write(STDERR_FILENO, line.text, line.length + 2) < 0)
        return;
}

void log_fault(enum log_level level, const char *event, const struct fault *fault)
{
    char text[768];
    log_event(level, event, log_text("fault", fault_text(fault, text, sizeof text)));
}
