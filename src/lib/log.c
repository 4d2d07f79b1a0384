#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048 };

const char *const log_level_names[] = {"debug", "info", "warning", "error", NULL};
const char *const log_format_names[] = {"json", "text", NULL};

static const char *log_process = "safe-script";
static enum log_level log_least = LOG_INFO;
static enum log_format log_format;
static uint64_t lost, told; /* lines lost, and as many of them as the log has been told of */

struct line {
    char text[LINE_BYTES];
    size_t length;
};

void log_open(const char *process, enum log_level least, enum log_format format)
{
    log_process = process;
    log_least = least;
    log_format = format;
}

uint64_t log_lost(void)
{
    return lost;
}

static void put(struct line *line, const char *text, size_t length)
{
    /* Room is kept for what closes the line, so that a long field never breaks its JSON. */
    if (line->length + length < LINE_BYTES - 16) {
        memcpy(line->text + line->length, text, length);
        line->length += length;
    }
}

static void put_word(struct line *line, const char *text)
{
    put(line, text, strlen(text));
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

/* What people read without quotes. */
static bool is_word(const char *text)
{
    static const char others[] = "_-./:@+%[]";
    if (!*text)
        return false;
    for (; *text; text++) {
        bool letter = (*text | 0x20) >= 'a' && (*text | 0x20) <= 'z';
        if (!letter && !(*text >= '0' && *text <= '9') && !strchr(others, *text))
            return false;
    }
    return true;
}

static void put_head(struct line *line, const char *stamp, enum log_level level, const char *event)
{
    char head[160];
    if (log_format == LOG_TEXT) {
        put(line, head,
            (size_t)snprintf(head, sizeof head, "%s %-7s %.32s: ", stamp, log_level_names[level], log_process));
        put_word(line, event);
        return;
    }
    put(line, head,
        (size_t)snprintf(head, sizeof head, "{\"time\":\"%s\",\"level\":\"%s\",\"process\":", stamp,
                         log_level_names[level]));
    put_string(line, log_process);
    put_word(line, ",\"event\":");
    put_string(line, event);
}

static void put_field(struct line *line, const struct log_field *field)
{
    if (log_format == LOG_TEXT) {
        put(line, " ", 1);
        put_word(line, field->name);
        put(line, "=", 1);
    } else {
        put(line, ",", 1);
        put_string(line, field->name);
        put(line, ":", 1);
    }
    if (!field->text)
        put_number(line, field->number);
    else if (log_format == LOG_TEXT && is_word(field->text))
        put_word(line, field->text);
    else
        put_string(line, field->text);
}

/* Returns false when there was no room for it. Other failures are no loss that a reader could be told of: a log that
 * nobody reads any more (a closed terminal) must not stop the service. */
static bool write_line(enum log_level level, const char *event, const struct log_field *fields)
{
    struct line line = {.length = 0};
    struct timespec now;
    struct tm utc;
    char stamp[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t length = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + length, sizeof stamp - length, ".%03ldZ", now.tv_nsec / 1000000);
    put_head(&line, stamp, level, event);
    for (; fields->name && line.length <= LINE_BYTES - 256; fields++)
        put_field(&line, fields);
    const char *end = log_format == LOG_TEXT ? "\n" : "}\n";
    memcpy(line.text + line.length, end, strlen(end));
    return write(STDERR_FILENO, line.text, line.length + strlen(end)) >= 0 || errno != EAGAIN;
}

void log_line(enum log_level level, const char *event, const struct log_field *fields)
{
    if (level < log_least)
        return;
    if (lost > told) {
        uint64_t now = lost;
        const struct log_field count[] = {log_number("lines", now - told), {.name = NULL}};
        if (write_line(LOG_WARNING, "log lines were lost", count))
            told = now;
    }
    lost += !write_line(level, event, fields);
}

void log_fault(enum log_level level, const char *event, const struct fault *fault)
{
    char text[768];
    log_event(level, event, log_text("fault", fault_text(fault, text, sizeof text)));
}
