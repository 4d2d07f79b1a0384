#include "log.h"

#include <errno.h>
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

/* Length of what stands for itself in a JSON string. */
static size_t plain(const char *text)
{
    size_t length = 0;
    for (; (unsigned char)text[length] >= 0x20 && (unsigned char)text[length] < 0x7f; length++) {
        if (text[length] == '"' || text[length] == '\\')
            break;
    }
    return length;
}

static void put_string(struct line *line, const char *text)
{
    enum { MOST = LINE_BYTES - 64 };
    put(line, "\"", 1);
    for (;;) {
        size_t length = plain(text), room = line->length < MOST ? MOST - line->length : 0;
        put(line, text, length < room ? length : room);
        text += length;
        unsigned char byte = (unsigned char)*text++;
        char escape[8];
        if (byte == 0)
            break;
        if (byte == '"' || byte == '\\')
            put(line, (char[]){'\\', (char)byte}, 2);
        else if (byte < 0x20 || byte == 0x7f)
            put(line, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", byte));
        else /* our own words are ASCII; a path or address may not be, and may be cut anywhere */
            put(line, "?", 1);
    }
    line->text[line->length++] = '"';
}

/* By hand: an audit line has ten of them, and is written for each run. */
static void put_number(struct line *line, int64_t number)
{
    char text[24];
    size_t at = sizeof text;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do
        text[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        text[--at] = '-';
    put(line, text + at, sizeof text - at);
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
