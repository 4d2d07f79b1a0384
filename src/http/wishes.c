#include "wishes.h"

#include "scope.h"

#include <string.h>
#include <strings.h>

/* A part of a header's value; text NULL: nothing is left. */
struct part {
    const char *text;
    size_t length;
};

static struct part part_of(const char *text)
{
    return (struct part){text, strlen(text)};
}

static struct part trim(struct part part)
{
    for (; part.length && strchr(" \t", *part.text); part.text++)
        part.length--;
    while (part.length && strchr(" \t", part.text[part.length - 1]))
        part.length--;
    return part;
}

/* Takes what stands before the next separator off *rest, or all of it. Separators within "…" do not count. */
static bool next_part(struct part *rest, char separator, struct part *part)
{
    size_t at = 0;
    if (!rest->text)
        return false;
    for (bool quoted = false; at < rest->length && (quoted || rest->text[at] != separator); at++) {
        if (rest->text[at] == '"')
            quoted = !quoted;
        else if (quoted && rest->text[at] == '\\' && at + 1 < rest->length)
            at++;
    }
    *part = trim((struct part){rest->text, at});
    *rest = at < rest->length ? (struct part){rest->text + at + 1, rest->length - at - 1} : (struct part){NULL, 0};
    return true;
}

static bool is(struct part part, const char *text)
{
    return part.length == strlen(text) && strncasecmp(part.text, text, part.length) == 0;
}

/* ---- Accept ---- */

/* "0.5", in thousandths; -1 when it is not a weight. */
static int weight(struct part part)
{
    int value = 0, unit = 1000;
    if (part.length == 0 || part.length > 5 || (part.length > 1 && part.text[1] != '.'))
        return -1;
    for (size_t i = 0; i < part.length; i += i ? 1 : 2, unit /= 10) {
        if (part.text[i] < '0' || part.text[i] > '9')
            return -1;
        value += (part.text[i] - '0') * unit;
    }
    return value <= 1000 ? value : -1;
}

/* The weight among a range's parameters: 1 where there is none. */
static int range_weight(struct part parameters)
{
    struct part part;
    while (next_part(&parameters, ';', &part)) {
        if (part.length >= 2 && strncasecmp(part.text, "q=", 2) == 0)
            return weight((struct part){part.text + 2, part.length - 2});
    }
    return 1000;
}

/* The ranges that hold a type of ours, and how exactly they name it. */
static const struct {
    const char *range;
    bool json, events;
    uint8_t exactness;
} ranges[] = {
    {"*/*", true, true, 1},
    {"application/*", true, false, 2},
    {"text/*", false, true, 2},
    {"application/json", true, false, 3},
    {"text/event-stream", false, true, 3},
};

static void add(struct wish *wish, uint8_t exactness, int quality)
{
    if (exactness >= wish->exactness)
        *wish = (struct wish){.quality = (uint16_t)quality, .exactness = exactness};
}

void wishes_accept(struct wishes *wishes, const char *value)
{
    struct part rest = part_of(value), element, range;
    while (next_part(&rest, ',', &element)) {
        next_part(&element, ';', &range);
        int quality = range_weight(element);
        for (size_t i = 0; i < COUNT(ranges) && quality >= 0; i++) {
            if (!is(range, ranges[i].range))
                continue;
            if (ranges[i].json)
                add(&wishes->json, ranges[i].exactness, quality);
            if (ranges[i].events)
                add(&wishes->events, ranges[i].exactness, quality);
        }
    }
}

bool wishes_stream(const struct wishes *wishes)
{
    const struct wish *json = &wishes->json, *events = &wishes->events;
    return events->quality > json->quality ||
           (events->quality > 0 && events->quality == json->quality && events->exactness > json->exactness);
}

/* ---- Prefer ---- */

void wishes_prefer(struct wishes *wishes, const char *value)
{
    struct part rest = part_of(value), element, preference, name = {0};
    while (next_part(&rest, ',', &element)) {
        next_part(&element, ';', &preference);
        next_part(&preference, '=', &name);
        /* An empty value is none (RFC 7240, 2). */
        struct part given = preference.text ? trim(preference) : (struct part){"", 0};
        if (is(name, "respond-async") && (given.length == 0 || is(given, "\"\"")))
            wishes->async = true;
    }
}

/* ---- Last-Event-ID ---- */

bool last_event_id(const char *value, uint64_t *id)
{
    size_t digits = value ? strlen(value) : 0;
    *id = 0;
    if (digits > 18 || (digits && strspn(value, "0123456789") != digits))
        return false;
    for (size_t i = 0; i < digits; i++)
        *id = *id * 10 + (uint64_t)(value[i] - '0');
    return true;
}
