#include "figures.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

__attribute__((noreturn)) void fail(const char *what, const char *object)
{
    fprintf(stderr, "%s%s%s%s%s\n", what, object ? " " : "", object ? object : "", errno ? ": " : "",
            errno ? strerror(errno) : "");
    exit(2);
}

void *allocate(void *old, size_t size)
{
    void *memory = realloc(old, size);
    if (!memory)
        fail("out of memory", NULL);
    return memory;
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint8_t *read_whole(const char *path, size_t *length)
{
    FILE *file = fopen(path, "re");
    uint8_t *bytes = NULL;
    size_t capacity = 0, got = 0;
    *length = 0;
    if (!file)
        fail("cannot read", path);
    do {
        *length += got;
        if (*length == capacity)
            bytes = allocate(bytes, capacity = capacity ? capacity * 2 : 4096);
    } while ((got = fread(bytes + *length, 1, capacity - *length, file)) > 0);
    if (ferror(file))
        fail("cannot read", path);
    fclose(file);
    return bytes;
}

uint64_t option_number(const char *name, const char *text, double unit)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || errno || !(value >= 0 && value * unit < 1e18)) {
        errno = 0;
        fail("not a number:", name);
    }
    return (uint64_t)(value * unit);
}

void figures_add(struct figures *figures, uint64_t ns)
{
    if (figures->count == figures->capacity) {
        figures->capacity = figures->capacity ? figures->capacity * 2 : 65536;
        figures->ns = allocate(figures->ns, figures->capacity * sizeof *figures->ns);
    }
    figures->ns[figures->count++] = ns;
}

void figures_save(const struct figures *figures, const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file)
        fail("cannot write", path);
    for (size_t i = 0; i < figures->count; i++)
        fprintf(file, "%.1f\n", (double)figures->ns[i] / 1e3);
    if (fclose(file))
        fail("cannot write", path);
}

static int by_size(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

void figures_print(struct figures *figures)
{
    static const struct {
        const char *name;
        double share;
    } rows[] = {{"min", 0}, {"median", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    size_t count = figures->count;
    double sum = 0;
    if (count)
        qsort(figures->ns, count, sizeof *figures->ns, by_size);
    for (size_t i = 0; i < count; i++)
        sum += (double)figures->ns[i];
    printf("\"latency_ms\":{");
    for (size_t i = 0; i < sizeof rows / sizeof *rows && count; i++) {
        size_t place = (size_t)((double)count * rows[i].share);
        printf("\"%s\":%.4f,", rows[i].name, (double)figures->ns[place < count ? place : count - 1] / 1e6);
    }
    printf("\"mean\":%.4f}", count ? sum / (double)count / 1e6 : 0);
}
