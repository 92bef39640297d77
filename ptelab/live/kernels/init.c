// SPDX-License-Identifier: GPL-2.0-only
/*
 * The only process of a kernel under QEMU: it performs the scenarios of /script and prints what it sees.
 *
 * Every line that it prints begins with "@@ ".  A scenario runs in a process of its own, and its child, if it forks,
 * gets what it has to do through a pipe.  Statements name the process (0 the parent, 1 the child), then pages of the
 * mapping: docs/live.md.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define ENTRIES 512UL
#define AREA 0x200000000UL
#define KEEPER (AREA + 500 * ENTRIES * PAGE)
#define TRACING "/sys/kernel/tracing/"
#define KSM "/sys/kernel/mm/ksm/"
#define PATIENCE 2000 /* times 10 ms */

extern char __executable_start, etext, __data_start, end;

static char script[1 << 16], line[1 << 12], text[1 << 16];
static char *start; /* of the mapping */
static unsigned long pages;
static int me, child, to_child, from_child, lines, counting;
static long faults;

static void say(const char *format, ...)
{
	va_list args;

	printf("@@ ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	lines++;
}

static int put(const char *path, int flags, const char *value)
{
	int fd = open(path, O_WRONLY | flags);
	int done = fd >= 0 && write(fd, value, strlen(value)) >= 0;

	close(fd);
	return done;
}

static unsigned long word_of(const char *path, unsigned long index)
{
	unsigned long word = 0;
	int fd = open(path, O_RDONLY);

	if (pread(fd, &word, sizeof(word), index * sizeof(word)) != sizeof(word))
		say("problem %s cannot be read: %s", path, strerror(errno));
	close(fd);
	return word;
}

/*
 * A fork leaves memory of our own to be mapped or copied: let that happen before faults are counted.  And new pages
 * have a reference on their way to the LRU; munmap lets them get there.
 */
static void settle(void)
{
	volatile char room[1 << 15];
	volatile char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*p = 1;
	munmap((void *)p, PAGE);

	for (p = &__executable_start; p < &etext; p += PAGE)
		(void)*p;
	for (p = &__data_start; p < &end; p += PAGE)
		*p = *p;
	*(volatile char *)(&end - 1) = *(volatile char *)(&end - 1);
	for (p = room; p < room + sizeof(room); p += PAGE / 2)
		*p = 0;
}

static long faults_now(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static void touch(int is_store, unsigned long first, unsigned long count, unsigned long stride)
{
	volatile unsigned long *p = (unsigned long *)(start + first * PAGE);
	long before = faults_now();
	unsigned long i;

	for (i = 0; i < count; i++, p += stride * PAGE / sizeof(*p)) {
		if (is_store)
			*p = 1;
		else
			(void)*p;
	}
	if (counting)
		faults += faults_now() - before;
}

/* Pages whose entries are young; the kernel counts a page whose flag says so as well. */
static long young(void)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long from = 0, to, kilobytes, sum = 0;

	while (fgets(text, sizeof(text), file)) {
		if (sscanf(text, "%lx-%lx ", &from, &to) == 2)
			continue;
		if (sscanf(text, "Referenced: %lu", &kilobytes) == 1 && from >= (unsigned long)start &&
		    from < (unsigned long)start + pages * PAGE)
			sum += kilobytes;
	}
	fclose(file);
	return sum * 1024 / PAGE;
}

static void look(const char *when)
{
	unsigned long i, entry, pfn;

	for (i = 0; i < pages; i++) {
		entry = word_of("/proc/self/pagemap", (unsigned long)start / PAGE + i);
		if (!(entry >> 63))
			continue;
		pfn = entry & ((1UL << 55) - 1);
		say("page %s %d %lu %lx %lu %lx", when, me, i, pfn, word_of("/proc/kpagecount", pfn),
		    word_of("/proc/kpageflags", pfn));
	}
	say("young %s %d %ld", when, me, young());
}

static unsigned long frame(unsigned long page)
{
	return word_of("/proc/self/pagemap", (unsigned long)start / PAGE + page) & ((1UL << 55) - 1);
}

static void merge(unsigned long first, unsigned long count)
{
	unsigned long same = 0;
	int i;

	if (madvise(start + first * PAGE, count * PAGE, MADV_MERGEABLE))
		say("problem MADV_MERGEABLE: %s", strerror(errno));
	put(KSM "sleep_millisecs", 0, "0");
	put(KSM "pages_to_scan", 0, "1000");
	put(KSM "run", 0, "1");
	for (i = 0; i < PATIENCE && same < count; i++) {
		usleep(10000);
		for (same = 1; same < count && frame(first + same) == frame(first); same++)
			;
	}
	put(KSM "run", 0, "0");
	if (same < count)
		say("problem ksmd has not merged %lu pages", count);
}

static void print_calls(void)
{
	FILE *file = fopen(TRACING "trace", "r");
	char *at, *end_of_name;

	while (fgets(text, sizeof(text), file)) {
		if (strstr(text, "LOST"))
			say("problem events of the trace are lost");
		at = strstr(text, " tlb_flush: pages:");
		if (at) {
			say("flush %s", strtok(at + strlen(" tlb_flush: "), "\n"));
			continue;
		}
		at = strstr(text, " <-");
		if (text[0] == '#' || !at)
			continue;
		*at = 0;
		end_of_name = strrchr(text, ' ');
		say("call %s", end_of_name ? end_of_name + 1 : text);
	}
	fclose(file);
}

static void trace(int on)
{
	char pid[32];

	if (!on) {
		put(TRACING "tracing_on", 0, "0");
		print_calls();
		return;
	}
	snprintf(pid, sizeof(pid), "%d", getpid());
	put(TRACING "set_ftrace_pid", O_TRUNC, pid);
	put(TRACING "set_event_pid", O_TRUNC, pid);
	put(TRACING "trace", O_TRUNC, "");
	/* Only once: this empties the buffer. */
	put(TRACING "tracing_on", 0, "1");
}

static void perform(char *statement);

/* The child: it performs lines that come through a pipe, and answers each with the faults that it took. */
static void serve(int in, int out)
{
	FILE *file = fdopen(in, "r");

	me = 1;
	faults = lines = 0;
	settle();
	while (fgets(line, sizeof(line), file)) {
		long answer[2];

		line[strcspn(line, "\n")] = 0;
		perform(line);
		settle();
		answer[0] = faults;
		answer[1] = lines;
		faults = lines = 0;
		if (write(out, answer, sizeof(answer)) < 0)
			break;
	}
	_exit(0);
}

static void make_child(void)
{
	int down[2], up[2];

	if (pipe(down) || pipe(up)) {
		say("problem no pipe");
		return;
	}
	fflush(stdout);
	child = fork();
	if (!child) {
		close(down[1]);
		serve(down[0], up[1]);
	}
	to_child = down[1];
	from_child = up[0];
	close(down[0]);
	settle();
}

static void tell_child(const char *statement)
{
	char order[256];
	long answer[2] = { 0, 0 };
	int size = snprintf(order, sizeof(order), "%s\n", statement);

	if (write(to_child, order, size) != size || read(from_child, answer, sizeof(answer)) != sizeof(answer))
		say("problem the child does not answer");
	faults += answer[0];
	lines += answer[1];
}

static void map_it(const char *memory, const char *sharing, const char *prot, unsigned long offset)
{
	int flags = MAP_FIXED | (strcmp(sharing, "shared") ? MAP_PRIVATE : MAP_SHARED);
	int rights = strcmp(prot, "rw") ? PROT_READ : PROT_READ | PROT_WRITE;
	int fd = -1;
	unsigned long i;

	if (!strcmp(memory, "anonymous")) {
		flags |= MAP_ANONYMOUS;
	} else {
		fd = open(strcmp(memory, "disk") ? "/memory/file" : "/disk/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
		memset(text, 0, PAGE);
		text[sizeof(long) - 1] = text[0] = 1;
		for (i = 0; i < pages; i++)
			if (write(fd, text, PAGE) != (ssize_t)PAGE)
				say("problem the file cannot be written: %s", strerror(errno));
	}
	start = (char *)AREA + 2 * ENTRIES * PAGE + offset * PAGE;
	/* A page that stays mapped keeps the tables above. */
	mmap((void *)KEEPER, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*(volatile char *)KEEPER = 1;
	if (mmap(start, pages * PAGE, rights, flags, fd, 0) == MAP_FAILED)
		say("problem mmap: %s", strerror(errno));
	madvise(start, pages * PAGE, MADV_NOHUGEPAGE);
	close(fd);
}

static void perform(char *statement)
{
	char call[32], memory[32], sharing[32];
	unsigned long first = 0, count = 0, argument = 0;
	int who = 0, error = 0;

	if (sscanf(statement, "map %31s %31s %31s %lu %lu", memory, sharing, call, &pages, &argument) == 5) {
		map_it(memory, sharing, call, argument);
		return;
	}
	sscanf(statement, "%31s %d %lu %lu %lu", call, &who, &first, &count, &argument);
	if (!strcmp(call, "exit")) {
		close(to_child);
		waitpid(child, NULL, 0);
		child = 0;
	} else if (who != me) {
		tell_child(statement);
	} else if (!strcmp(call, "settle")) {
		settle();
	} else if (!strcmp(call, "look")) {
		look(count ? "after" : "before");
	} else if (!strcmp(call, "count")) {
		counting = count;
	} else if (!strcmp(call, "trace")) {
		trace(count);
	} else if (!strcmp(call, "fork")) {
		make_child();
	} else if (!strcmp(call, "ksm")) {
		merge(first, count);
	} else {
		if (!strcmp(call, "load") || !strcmp(call, "store"))
			touch(call[0] == 's', first, count, argument);
		else if (!strcmp(call, "munmap"))
			error = munmap(start + first * PAGE, count * PAGE);
		else if (!strcmp(call, "mprotect"))
			error = mprotect(start + first * PAGE, count * PAGE, argument);
		else if (!strcmp(call, "madvise"))
			error = madvise(start + first * PAGE, count * PAGE, argument);
		else if (!strcmp(call, "mremap"))
			error = mremap(start + first * PAGE, count * PAGE, count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				       start + (first + argument) * PAGE) == MAP_FAILED;
		else
			say("problem %s is not known", call);
		if (error)
			say("problem %s: %s", statement, strerror(errno));
	}
}

static void scenario(char *block)
{
	char *next;

	lines = 0;
	settle();
	for (; block; block = next) {
		next = strchr(block, '\n');
		if (next)
			*next++ = 0;
		if (*block)
			perform(block);
	}
	say("faults %ld", faults);
	if (child) {
		close(to_child);
		waitpid(child, NULL, 0);
	}
	say("lines %d", lines);
	_exit(0);
}

/* Choose the functions that are traced, by their numbers: by their names it takes the kernel seconds. */
static void choose_functions(char *names)
{
	FILE *file = fopen(TRACING "available_filter_functions", "r");
	char number[32], wanted[sizeof(text) + 2];
	int n = 0;

	put(TRACING "tracing_on", 0, "0");
	while (file && fgets(text, sizeof(text), file)) {
		n++;
		text[strcspn(text, " \t\n")] = 0;
		snprintf(wanted, sizeof(wanted), " %s ", text);
		if (!strstr(names, wanted))
			continue;
		say("function %s", text);
		snprintf(number, sizeof(number), "%d\n", n);
		if (!put(TRACING "set_ftrace_filter", O_APPEND, number))
			say("problem set_ftrace_filter: %s", strerror(errno));
	}
	put(TRACING "events/tlb/tlb_flush/enable", 0, "1"); /* amd64 alone has it */
	if (!put(TRACING "current_tracer", 0, "function"))
		say("problem the function tracer: %s", strerror(errno));
}

static void make_ready(void)
{
	static const char *const mounts[][2] = {
		{ "proc", "/proc" },   { "sysfs", "/sys" },    { "tracefs", "/sys/kernel/tracing" },
		{ "tmpfs", "/memory" }, { "ramfs", "/disk" },
	};
	size_t i;

	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i][1], 0700);
		if (mount(mounts[i][0], mounts[i][1], mounts[i][0], 0, NULL))
			say("problem no %s: %s", mounts[i][0], strerror(errno));
	}
}

int main(void)
{
	struct utsname system;
	cpu_set_t first;
	int fd = open("/script", O_RDONLY);
	ssize_t size = read(fd, script, sizeof(script) - 1);
	char *block = script, *next;

	close(fd);
	script[size > 0 ? size : 0] = 0;
	say("begin");
	make_ready();
	/* Pages on their way to the LRU have a reference from the CPU that made them, until this CPU drains them. */
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sched_setaffinity(0, sizeof(first), &first);
	uname(&system);
	say("kernel %s", system.release);
	if (sysconf(_SC_PAGESIZE) != PAGE)
		say("problem pages of %ld bytes", sysconf(_SC_PAGESIZE));
	/* Blocks are separated by empty lines; the first one names functions. */
	next = strstr(block, "\n\n");
	if (next)
		*next = 0;
	choose_functions(block);
	for (block = next ? next + 2 : NULL; block; block = next) {
		pid_t pid;

		next = strstr(block, "\n\n");
		if (next) {
			*next = 0;
			next += 2;
		}
		say("scenario");
		pid = fork();
		if (!pid)
			scenario(block);
		waitpid(pid, NULL, 0);
	}
	say("end");
	reboot(RB_AUTOBOOT);
	return 0;
}
