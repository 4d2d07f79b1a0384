#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "settle.h"

#include "scope.h"
#include "script.h"
#include "tools.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Python's own allocator has a size class for each multiple of 16 up to this. */
enum { CLASS_STEP = 16, CLASS_MOST = 512 };

/* Up to this the C library keeps freed pieces of each size apart. */
enum { KEPT_APART_MOST = 1056 };

/* So many bytes that lie one after the other are taken for the beginning of a pool, and not for a hole in one. Pools
 * are of 16 KiB, of 4 before 3.10. */
enum { IN_ORDER = 3072, POOL = 16384, POOL_HEAD_MOST = 64 };

/* Of one size: an allocator may never have any in order. */
enum { FILLED_MOST = 1 << 20 };

/* In bytes; arenas are of 1 MiB, of 256 KiB before 3.10. */
enum { ROOM = 1 << 17, ROOM_TRIES = 16 };

/* No larger pieces are looked for, which lie apart anyway. */
enum { LARGEST_HOLE = 1 << 16 };

/* The warm imports have left holes in most pools of each size class. A clone would fill them one by one, in pages that
 * are all over the heap. So we do, and keep what we get: what is left for a clone lies together, at the beginning of a
 * pool, whose first page has what the allocator must write anyway. */
static void fill_pools(size_t size)
{
    struct block {
        struct block *before;
    } *last = NULL;
    size_t in_order = 0, needed = IN_ORDER / size;
    for (size_t filled = 0; in_order < needed && filled < FILLED_MOST; filled += size) {
        struct block *block = PyObject_Malloc(size);
        if (!block)
            break;
        bool first = (uintptr_t)block % POOL <= POOL_HEAD_MOST;
        bool next = in_order && (uintptr_t)block == (uintptr_t)last + size;
        in_order = first ? 1 : next ? in_order + 1 : 0;
        block->before = last;
        last = block;
    }
    for (; last && in_order; in_order--) { /* in the reverse order, so that they are given out again as they lie */
        struct block *before = last->before;
        PyObject_Free(last);
        last = before;
    }
}

/* A clone that finds no pool left would map memory for more. So some are taken until they lie one after the other, in
 * an arena that has room, and given back but for what keeps that arena. */
static void make_room(void)
{
    void *blocks[ROOM / CLASS_MOST];
    bool together = false;
    for (size_t tries = 0; !together && tries < ROOM_TRIES; tries++) {
        together = true;
        for (size_t i = 0; i < COUNT(blocks); i++) {
            blocks[i] = PyObject_Malloc(CLASS_MOST);
            size_t pools = i ? (uintptr_t)blocks[i] / POOL - (uintptr_t)blocks[i - 1] / POOL : 0;
            together = together && blocks[i] && pools <= 1;
        }
    }
    for (size_t i = COUNT(blocks); together && --i;)
        PyObject_Free(blocks[i]);
}

/* The same for the C library's heap. Whatever does not come from its end comes from a hole. */
static void fill_heap(void)
{
    malloc_trim(0);
    uintptr_t end = (uintptr_t)sbrk(0) - mallinfo2().keepcost;
    size_t size = LARGEST_HOLE;
    while (size > CLASS_STEP) {
        void *block = malloc(size - sizeof(size_t));
        if (block && (uintptr_t)block < end)
            continue;
        free(block);
        size -= size > KEPT_APART_MOST ? size / 8 / CLASS_STEP * CLASS_STEP : CLASS_STEP;
    }
}

/* ---- program text ---- */

/* A read-only part of a program or library in memory. */
struct segment {
    uint8_t *bytes;
    size_t length;
    int protection;
};

/* Smaller ones do not pay; the kernel's own limit of mappings (65530) bounds what may be split into pages. */
enum { PAGES_LEAST = 64, PAGES_MOST = 16384, SEGMENTS_MOST = 64 };

struct segments {
    struct segment each[SEGMENTS_MOST];
    size_t count, pages, page;
};

static size_t down(const struct segments *segments, size_t address)
{
    return address / segments->page * segments->page;
}

static void permit(const struct segments *segments, size_t from, size_t to, int protection)
{
    from = down(segments, from);
    to = down(segments, to);
    if (from < to)
        mprotect((uint8_t *)from, to - from, protection);
}

/* In pages, if it is one that pays. */
static void add(struct segments *segments, const struct segment *segment)
{
    size_t pages = segment->length / segments->page;
    if (pages < PAGES_LEAST || pages > PAGES_MOST - segments->pages || segments->count == SEGMENTS_MOST)
        return;
    segments->pages += pages;
    segments->each[segments->count++] = *segment;
}

/* Whether the loader has written addresses into an object's code: that must not be dropped. */
static bool is_relocated_text(const struct dl_phdr_info *object)
{
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        const ElfW(Dyn) *entry = (const void *)(object->dlpi_addr + header->p_vaddr); /* NOLINT(*-int-to-ptr) */
        for (; header->p_type == PT_DYNAMIC && entry->d_tag != DT_NULL; entry++) {
            if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL)))
                return true;
        }
    }
    return false;
}

/* Each mapping is work for the kernel in every clone and at every end of one, and a library has five: its head, its
 * code, its constants, what is read-only after relocation, its data. Neighbours that are alike are one. So the first
 * three get the same permissions here, and so do the last two. Neither was a wall: what runs in a jail may change the
 * permissions of its own memory. */
static int collect(struct dl_phdr_info *object, size_t size, void *argument)
{
    struct segments *segments = argument;
    struct segment whole = {0};
    size_t offset = 0; /* of its end in the file */
    (void)size;
    if (is_relocated_text(object))
        return 0;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        size_t at = object->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_GNU_RELRO)
            permit(segments, at, at + header->p_memsz, PROT_READ | PROT_WRITE);
        if (header->p_type != PT_LOAD || (header->p_flags & PF_W))
            continue;
        size_t from = down(segments, at), to = down(segments, at + header->p_filesz + segments->page - 1);
        if (whole.bytes + whole.length == (uint8_t *)from && offset == down(segments, header->p_offset)) {
            whole.length += to - from;
            whole.protection = PROT_READ | PROT_EXEC;
            permit(segments, (size_t)whole.bytes, to, whole.protection);
        } else {
            add(segments, &whole);
            whole = (struct segment){(uint8_t *)from, to - from,
                                     header->p_flags & PF_X ? PROT_READ | PROT_EXEC : PROT_READ};
            offset = down(segments, header->p_offset);
        }
        offset += to - from;
    }
    add(segments, &whole);
    return 0;
}

/* A clone gets the page tables of what has ever been written to, and must ask for all else page by page. So one byte is
 * written, as it is. Where that may not be (a policy against writable text) all stays as it was. The whole segment is
 * made writable for that moment: a part of it would stay a mapping apart. */
static bool touch(const struct segment *segment)
{
    volatile uint8_t *last = segment->bytes + segment->length - 1;
    if (mprotect(segment->bytes, segment->length, segment->protection | PROT_WRITE))
        return false;
    uint8_t byte = *last;
    *last = byte;
    return mprotect(segment->bytes, segment->length, segment->protection) == 0;
}

/* The kernel maps what lies around a page with it, 16 pages at once and most of them for nothing: each costs a clone at
 * its end. It does so within one mapping only, and neighbours of different advice are two. */
static void split(const struct segment *segment, size_t page)
{
    for (size_t at = 0; at < segment->length; at += 2 * page)
        madvise(segment->bytes + at, page, MADV_RANDOM);
}

/* So that clones begin with those pages of the program in place that a run needs, and with no others. */
static void map_text(void)
{
    struct segments segments = {.page = (size_t)sysconf(_SC_PAGESIZE)};
    dl_iterate_phdr(collect, &segments);
    for (size_t i = 0; i < segments.count; i++) {
        struct segment *segment = &segments.each[i];
        if (touch(segment)) {
            split(segment, segments.page);
            madvise(segment->bytes, segment->length, MADV_DONTNEED);
        }
    }
    tools_renew();
    script_rehearse(true);
    for (size_t i = 0; i < segments.count; i++)
        madvise(segments.each[i].bytes, segments.each[i].length, MADV_NORMAL);
}

void settle(void)
{
    script_rehearse(true); /* fills the interpreter's caches */
    map_text();
    PyGC_Collect(); /* takes apart what the interpreter keeps of freed lists, tuples and dicts, which lie anywhere */
    fill_heap();
    for (size_t size = CLASS_MOST; size > 0; size -= CLASS_STEP)
        fill_pools(size);
    make_room();
}
