#include "describe.h"

#include "log.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

void describe_text(FILE *out, const struct jail_plan *plan, const struct layer_report *reports, unsigned walls)
{
    for (int i = 0; i < LAYER_COUNT; i++) {
        char text[768];
        fprintf(out, "  %-11s %-4s %s\n", layer_names[i], reports[i].holds ? "yes" : "NO",
                reports[i].holds ? reports[i].how : fault_text(&reports[i].fault, text, sizeof text));
        if (!reports[i].holds)
            fprintf(out, "  %-11s      taken over by: %s\n", "", layer_table[i].takes_over);
    }
    for (size_t i = 0; i < attack_class_count; i++) {
        const struct attack_class *class = &attack_classes[i];
        int count = __builtin_popcount(class->walls & plan->layers);
        if (count < 2)
            fprintf(out, "  %-11s %s: %s\n", count ? "one wall" : "no wall", class->name,
                    class->one ? class->one : "the other layers are missing here");
    }
    const struct attack_class *weakest = jail_weakest(plan->layers, walls);
    if (weakest)
        fprintf(out, "Below the minimum: fewer than %u of the layers here stop this class of attack: %s.\n", walls,
                weakest->name);
}

static void put(struct buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct buffer *out, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0)
        buffer_append(out, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

/* Our own words and the kernel's error texts: ASCII, or UTF-8 from tables of ours. */
static void put_string(struct buffer *out, const char *text)
{
    put(out, "\"");
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            put(out, "\\%c", byte);
        else if (byte < 0x20)
            put(out, "\\u%04x", byte);
        else
            buffer_append(out, text, 1);
    }
    put(out, "\"");
}

static void put_member(struct buffer *out, const char *name, const char *value)
{
    put(out, ",\"%s\":", name);
    if (value)
        put_string(out, value);
    else
        put(out, "null");
}

static void put_walls(struct buffer *out, uint32_t walls)
{
    const char *separator = "";
    for (int i = 0; i < 32; i++) {
        const char *name = i < LAYER_COUNT ? layer_names[i] : jail_wall_name(LAYER_BIT(i));
        if (!(walls & LAYER_BIT(i)))
            continue;
        put(out, "%s", separator);
        put_string(out, name);
        separator = ",";
    }
}

static void put_layer(struct buffer *out, int id, const struct layer_report *report)
{
    char text[768];
    const struct layer *layer = &layer_table[id];
    put(out, "{\"name\":\"%s\",\"holds\":%s", layer_names[id], report->holds ? "true" : "false");
    put_member(out, "gives", layer->gives);
    put_member(out, "how", report->holds ? report->how : NULL);
    put_member(out, "reason", report->holds ? NULL : fault_text(&report->fault, text, sizeof text));
    put_member(out, "hint", report->holds ? NULL : fault_hint(&report->fault));
    put_member(out, "takes_over", report->holds ? NULL : layer->takes_over);
    put(out, "}");
}

void describe_json(struct buffer *out, const struct jail_plan *plan, const struct layer_report *reports, unsigned walls)
{
    put(out, "{\"layers\":[");
    for (int i = 0; i < LAYER_COUNT; i++) {
        put(out, "%s", i ? "," : "");
        put_layer(out, i, &reports[i]);
    }
    put(out, "],\"attacks\":[");
    for (size_t i = 0; i < attack_class_count; i++) {
        put(out, "%s{\"class\":", i ? "," : "");
        put_string(out, attack_classes[i].name);
        put(out, ",\"walls\":[");
        put_walls(out, attack_classes[i].walls & plan->layers);
        put(out, "]");
        put_member(out, "one", attack_classes[i].one);
        put(out, "}");
    }
    put(out, "],\"walls\":[");
    put_walls(out, plan->layers);
    put(out, "],\"walls_needed\":%u,\"sufficient\":%s}", walls, jail_weakest(plan->layers, walls) ? "false" : "true");
}

static void put_words(struct buffer *out, const char *words)
{
    const char *separator = "";
    put(out, "[");
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        put(out, "%s\"%.*s\"", separator, (int)length, at);
        separator = ",";
        at += length;
    }
    put(out, "]");
}

void describe_environment(struct buffer *out, const struct environment *environment,
                          const struct interpreter *interpreter)
{
    char text[768];
    const char *separator = "";
    put(out, "{\"name\":\"%s\",\"interpreter\":", environment->name);
    put_string(out, interpreter->version);
    put(out, ",\"packages\":[");
    for (size_t i = 0; i < interpreter->package_count; i++) {
        put(out, "%s{\"name\":", i ? "," : "");
        put_string(out, interpreter->packages[i].name);
        put(out, ",\"version\":");
        put_string(out, interpreter->packages[i].version);
        put(out, "}");
    }
    put(out, "],\"warm\":");
    put_words(out, environment->made_for.modules);
    put(out, ",\"limits\":{");
    for (int i = 0; i < LIMIT_COUNT; i++) {
        if (!limit_table[i].by_request)
            continue;
        put(out, "%s\"%s\":%" PRIu64, separator, limit_table[i].name, environment->made_for.limits.value[i]);
        separator = ",";
    }
    put(out, "}");
    bool failed = environment_state(environment) == ENVIRONMENT_FAILED;
    put_member(out, "reason", failed ? fault_text(&environment->fault, text, sizeof text) : NULL);
}

void describe_environments_text(FILE *out, const struct engine *engine)
{
    for (size_t i = 0; i < engine->environment_count; i++) {
        const struct environment *environment = &engine->environments[i];
        const struct interpreter *interpreter = engine->interpreters[environment->interpreter];
        if (environment->larger)
            continue;
        fprintf(out, "  %-11s %s, %s%s%s; %zu packages; %s%s%s\n", environment->name, interpreter->executable,
                interpreter->version, *interpreter->path ? ", with " : "", interpreter->path,
                interpreter->package_count,
                environment->warm || !environment->number ? "from the start" : "when needed",
                *environment->made_for.modules ? ", warm: " : "", environment->made_for.modules);
    }
}

/* ---- to the front ---- */

/* A memory file that nobody can change any more, in the place of the old one; -1 with errno where that stays. */
static int replace(int *file, const char *name, const void *bytes, size_t length)
{
    auto_fd int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
        return -1;
    drop_fd(file);
    *file = take_fd(&fd);
    return 0;
}

int engine_describe(struct engine *engine)
{
    struct environment_offers offers;
    struct buffer text = {0};
    describe_json(&text, &engine->plan, engine->reports, (unsigned)engine->settings->walls);
    buffer_append(&text, "\n", 1);
    for (size_t i = 0; i < engine->environment_count; i++) {
        const struct environment *environment = &engine->environments[i];
        if (!environment->larger) /* a tier's line is empty */
            describe_environment(&text, environment, engine->interpreters[environment->interpreter]);
        buffer_append(&text, "\n", 1);
    }
    environments_offer(engine, &offers);
    int result = text.failed || replace(&engine->description, "description", text.bytes, text.length) ||
                         replace(&engine->offers, "environments", &offers, sizeof offers)
                     ? -1
                     : 0;
    buffer_free(&text);
    return result;
}

void describe_again(struct engine *engine)
{
    if (engine_describe(engine))
        log_event(LOG_ERROR, "no memory to describe the environments anew", log_number("errno", errno));
    front_tell_settings(engine);
}
