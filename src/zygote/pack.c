#include "pack.h"

#include "scope.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { HUGE_PAGE = 2 << 20, RANGES_MOST = 512, PAGES_LEAST = 16, LOOK_PAGES = 4096 };

/* Addresses in one mapping that is ours alone. */
struct range {
    uint8_t *bytes;
    size_t length;
};

struct ranges {
    struct range each[RANGES_MOST];
    size_t count, page;
};

/* Of a mapping's flags in smaps (proc_pid_smaps(5)) those that a plain one has. Any other would be lost with the move:
 * it grows, is not for clones, is locked or sealed. */
static bool is_plain(const char *flags)
{
    static const char plain[] = "rd wr ex mr mw me ac nr sd hg nh";
    for (; *flags && *flags != '\n'; flags += strspn(flags, " ")) {
        char flag[4] = {flags[0], flags[1]};
        if (!flags[1] || !strstr(plain, flag))
            return false;
        flags += 2;
    }
    return true;
}

/* From the first page to the last that are there. */
static struct range trim(const struct ranges *ranges, struct range range)
{
    unsigned char there[LOOK_PAGES];
    uint8_t *first = NULL, *end = range.bytes;
    for (size_t at = 0, step; at < range.length; at += step) {
        step = range.length - at < LOOK_PAGES * ranges->page ? range.length - at : LOOK_PAGES * ranges->page;
        if (mincore(range.bytes + at, step, there))
            return range;
        for (size_t i = 0; i < step / ranges->page; i++) {
            uint8_t *page = range.bytes + at + i * ranges->page;
            first = (there[i] & 1) && !first ? page : first;
            end = there[i] & 1 ? page + ranges->page : end;
        }
    }
    return first ? (struct range){first, (size_t)(end - first)} : (struct range){range.bytes, 0};
}

/* Of a row of mappings, one next to the other: how many, and how many bytes in them have been written. */
struct row {
    struct range range;
    size_t mappings, own;
};

/* Several that can become one are moved whatever their size: each mapping costs a clone more than some pages do. */
static void add(struct ranges *ranges, const struct row *row)
{
    if (row->mappings > 1 || row->own >= PAGES_LEAST * ranges->page)
        ranges->each[ranges->count++] = trim(ranges, row->range);
}

/* Reads smaps: first the line of a mapping, then a line for each of its figures, its flags the last. */
static void find(struct ranges *ranges, FILE *maps)
{
    char line[4608]; /* a path is no longer than 4096 */
    struct row row = {.mappings = 0};
    struct range next = {NULL, 0};
    size_t own = 0;
    while (fgets(line, sizeof line, maps) && ranges->count < RANGES_MOST - 1) {
        unsigned long from, to, kib;
        char access[5];
        if (sscanf(line, "%lx-%lx %4s ", &from, &to, access) == 3) {
            bool ours = strcmp(access, "rw-p") == 0;
            next = (struct range){(uint8_t *)from, ours ? to - from : 0}; /* NOLINT(performance-no-int-to-ptr) */
            own = 0;
        } else if (sscanf(line, "Anonymous: %lu kB", &kib) == 1) {
            own = kib << 10;
        } else if (strncmp(line, "VmFlags: ", 9) == 0 && next.length && is_plain(line + 9)) {
            if (row.range.bytes + row.range.length != next.bytes) {
                add(ranges, &row);
                row = (struct row){.range = {next.bytes, 0}};
            }
            row.range.length += next.length;
            row.mappings++;
            row.own += own;
        }
    }
    add(ranges, &row);
}

/* An area of whole huge pages. Its bounds in address space are the caller's. NULL: there are none. */
static uint8_t *huge_pages(size_t length)
{
    uint8_t *area = mmap(NULL, length + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)area % HUGE_PAGE;
    if (before)
        munmap(area, before);
    if (before < HUGE_PAGE)
        munmap(area + before + length, HUGE_PAGE - before);
    area += before;
    madvise(area, length, MADV_HUGEPAGE);
    memset(area, 0, length);
    if (madvise(area, length, MADV_COLLAPSE) == 0)
        return area;
    munmap(area, length);
    return NULL;
}

/* Nothing between the copy and the move may write to what is moved. It lies where it lay, and the pages of a folio keep
 * their order, so that the kernel takes them together; that a folio is no longer where a huge page could be is what
 * keeps a clone's first write from splitting a huge page. */
static void move(const struct range *range, uint8_t *to)
{
    memcpy(to, range->bytes, range->length);
    if (mremap(to, range->length, range->length, MREMAP_MAYMOVE | MREMAP_FIXED, range->bytes) == MAP_FAILED)
        return; /* nothing has been moved */
    madvise(range->bytes, range->length, MADV_NOHUGEPAGE);
}

void pack(int proc)
{
    static struct ranges ranges;
    int fd = openat(proc, "self/smaps", O_RDONLY | O_CLOEXEC);
    FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
    if (!maps)
        return;
    ranges.page = (size_t)sysconf(_SC_PAGESIZE);
    find(&ranges, maps);
    fclose(maps);
    size_t length = 0, at = 0;
    for (size_t i = 0; i < ranges.count; i++)
        length += ranges.each[i].length;
    length = (length + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uint8_t *area = length ? huge_pages(length) : NULL;
    if (!area)
        return;
    for (size_t i = 0; i < ranges.count; at += ranges.each[i++].length)
        move(&ranges.each[i], area + at);
    if (at < length)
        munmap(area + at, length - at);
}
