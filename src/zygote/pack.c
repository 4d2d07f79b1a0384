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

/* A mapping that has more room unwritten than UNWRITTEN_MOST is somebody's reserve. Program text of which clones have
 * less than a part in TEXT_PART in place is not worth its copy. */
enum {
    HUGE_PAGE = 2 << 20,
    UNWRITTEN_MOST = 1 << 20,
    RANGES_MOST = 512,
    PAGES_LEAST = 16,
    TEXTS_MOST = 16,
    TEXT_PART = 8
};

/* Addresses in one mapping that is ours alone. */
struct range {
    uint8_t *bytes;
    size_t length;
};

struct ranges {
    struct range each[RANGES_MOST], texts[TEXTS_MOST];
    size_t count, page, text_count;
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

/* Of a row of mappings, one next to the other: how many, and how many bytes in them have been written. */
struct row {
    struct range range;
    size_t mappings, own;
};

/* Several that can become one are moved whatever their size: each mapping costs a clone more than some pages do. */
static void add(struct ranges *ranges, const struct row *row)
{
    if (row->mappings > 1 || row->own >= PAGES_LEAST * ranges->page)
        ranges->each[ranges->count++] = row->range;
}

/* Of program text what fills whole huge pages where it lies. */
static void add_text(struct ranges *ranges, const struct range *text, size_t in_place)
{
    size_t before = -(uintptr_t)text->bytes % HUGE_PAGE;
    if (text->length < before + HUGE_PAGE || in_place < text->length / TEXT_PART || ranges->text_count == TEXTS_MOST)
        return;
    size_t length = (text->length - before) / HUGE_PAGE * HUGE_PAGE;
    ranges->texts[ranges->text_count++] = (struct range){text->bytes + before, length};
}

/* Reads smaps: first the line of a mapping, then a line for each of its figures, its flags the last. */
static void find(struct ranges *ranges, FILE *maps)
{
    char line[4608]; /* a path is no longer than 4096 */
    struct row row = {.mappings = 0};
    struct range next = {NULL, 0};
    size_t own = 0, in_place = 0;
    bool written = false, text = false;
    while (fgets(line, sizeof line, maps) && ranges->count < RANGES_MOST - 1) {
        unsigned long from, to, kib;
        char access[5];
        if (sscanf(line, "%lx-%lx %4s ", &from, &to, access) == 3) {
            written = strcmp(access, "rw-p") == 0;
            text = strcmp(access, "r-xp") == 0;
            next = (struct range){(uint8_t *)from, to - from};
            own = in_place = 0;
        } else if (sscanf(line, "Rss: %lu kB", &kib) == 1) {
            in_place = kib << 10;
        } else if (sscanf(line, "Anonymous: %lu kB", &kib) == 1) {
            own = kib << 10;
        } else if (strncmp(line, "VmFlags: ", 9) != 0 || !is_plain(line + 9)) {
            continue;
        } else if (text) {
            add_text(ranges, &next, in_place);
        } else if (written && next.length - own <= UNWRITTEN_MOST) {
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

/* Room for what is moved, in whole huge pages; they are there up to `filled` only. */
struct area {
    uint8_t *bytes;
    size_t length, used, filled;
};

static bool reserve(struct area *area, size_t length)
{
    length = (length + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uint8_t *bytes = mmap(NULL, length + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return false;
    size_t before = -(uintptr_t)bytes % HUGE_PAGE;
    if (before)
        munmap(bytes, before);
    munmap(bytes + before + length, HUGE_PAGE - before);
    *area = (struct area){.bytes = bytes + before, .length = length};
    return madvise(area->bytes, length, MADV_HUGEPAGE) == 0;
}

/* One after the other, as they are needed: what they replace is given back meanwhile. */
static uint8_t *room_for(struct area *area, size_t length)
{
    uint8_t *from = area->bytes + area->used;
    area->used += length;
    for (; area->filled < area->used; area->filled += HUGE_PAGE) {
        uint8_t *page = area->bytes + area->filled;
        *page = 0;
        if (madvise(page, HUGE_PAGE, MADV_COLLAPSE))
            return NULL;
    }
    return from;
}

/* Nothing between the copy and the move may write to what is moved. It lies where it lay, and the pages of a folio keep
 * their order, so that the kernel takes them together. */
static bool move(const struct range *range, struct area *area, int protection)
{
    uint8_t *to = room_for(area, range->length);
    if (!to)
        return false;
    memcpy(to, range->bytes, range->length);
    if (mprotect(to, range->length, protection))
        return false;
    return mremap(to, range->length, range->length, MREMAP_MAYMOVE | MREMAP_FIXED, range->bytes) != MAP_FAILED;
}

static bool is_zero(const uint8_t *page, size_t size)
{
    return page[0] == 0 && memcmp(page, page + 1, size - 1) == 0;
}

/* Pages of zeros need not be there: nearly all were not, and the kernel makes one where it is asked for. */
static void give_back(const struct range *range, size_t page)
{
    size_t first = 0, at = 0;
    for (; at < range->length; at += page) {
        if (is_zero(range->bytes + at, page))
            continue;
        if (at > first)
            madvise(range->bytes + first, at - first, MADV_DONTNEED);
        first = at + page;
    }
    if (at > first)
        madvise(range->bytes + first, at - first, MADV_DONTNEED);
}

/* That a folio is no longer where a huge page could be is what keeps a clone's first write from splitting one. */
static void pack_written(const struct ranges *ranges)
{
    size_t length = 0;
    for (size_t i = 0; i < ranges->count; i++)
        length += ranges->each[i].length;
    struct area area = {.bytes = NULL};
    if (!length || !reserve(&area, length))
        return;
    for (size_t i = 0; i < ranges->count; i++) {
        const struct range *range = &ranges->each[i];
        if (!move(range, &area, PROT_READ | PROT_WRITE))
            break;
        madvise(range->bytes, range->length, MADV_NOHUGEPAGE); /* nobody is to put huge pages together here */
        give_back(range, ranges->page);
    }
    munmap(area.bytes, area.length); /* where something has been moved away, nothing is mapped */
}

/* Nobody writes to text, so it stays in whole huge pages: one entry of a page table in place of 512, and of what the
 * processor keeps of them. From here on it is no longer the file's. */
static void pack_text(const struct range *text)
{
    struct area area;
    if (!reserve(&area, text->length))
        return;
    move(text, &area, PROT_READ | PROT_EXEC);
    munmap(area.bytes, area.length);
}

void pack(int proc)
{
    struct ranges ranges = {.count = 0, .page = (size_t)sysconf(_SC_PAGESIZE)};
    int fd = openat(proc, "self/smaps", O_RDONLY | O_CLOEXEC);
    FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
    if (!maps)
        return;
    find(&ranges, maps);
    pack_written(&ranges);
    for (size_t i = 0; i < ranges.text_count; i++)
        pack_text(&ranges.texts[i]);
    fclose(maps); /* not before: the heap is as it was found */
}
