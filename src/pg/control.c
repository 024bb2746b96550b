/*-------------------------------------------------------------------------
 * control.c
 *	  The control file: what backends tell each other about models.
 *
 * A small file in the cache directory, mapped shared by every backend that
 * uses a model, so that nothing has to be preloaded.  It has four parts:
 *
 *	  images	hits, pins, statistics and DSM segments by digest
 *	  backends	who is there, which images it maps
 *	  threads	how many threads each of those backends computes with
 *	  trainings	how far each training is
 *
 * There are no locks in it.  Fields are atomics, and a process that dies in
 * the middle leaves nothing inconsistent: counters are independent of each
 * other, a slot for a backend is owned by one word (process id and start time)
 * and reclaimed when that process is no more, and what needs several steps (a
 * new image slot, eviction) runs under a lock of the kernel on the file
 * (tr_control_lock), which dies with its holder.
 *
 * The file is never trusted.  Its header is checked when it is mapped and the
 * file made anew when it is not ours; any other damage gives wrong numbers,
 * since no field is an address or an index.  Losing it loses statistics and
 * pins only: which images there are is known from the stores, except that DSM
 * segments are then only forgotten.
 *
 * Where no file can be made, anonymous memory stands in: counts are then the
 * session's own.
 *
 * Backends find the slot of an image anew for each statement.  One that is
 * given to another image in the middle of a statement gets a few counts too
 * many; nothing else depends on it.
 *-------------------------------------------------------------------------
 */
#include "pg/store.h"
#include "pg/train.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pg_shmem.h"
#include "utils/timestamp.h"

#define CONTROL_PATH TR_CACHE_DIRECTORY "/control"
#define CONTROL_MAGIC UINT64CONST(0x54524d434f4e5431)
#define CONTROL_LAYOUT 2		/* raise when a struct below changes */
#define CONTROL_BACKENDS 1024
#define USE_WORDS (TR_MAX_IMAGES / 64)
#define TRAINING_WORDS (sizeof(TrProgress) / sizeof(uint64))
#define RECLAIM_INTERVAL 1.0	/* seconds between looks at who is dead */

typedef struct ControlHeader
{
	uint64		magic;
	uint32		layout;
	uint32		bytes;
	_Atomic uint32 high;		/* backend slots from here on were never used */
	char		pad[TE_CACHE_LINE - 20];
} ControlHeader;

typedef struct ControlImage
{
	_Atomic uint32 used;		/* 1 once digest is there */
	_Atomic uint32 pinned;
	uint8		digest[TR_DIGEST_LENGTH];	/* written before used is set, under the lock */
	_Atomic uint64 hits;
	_Atomic uint64 calls;
	_Atomic uint64 rows;
	_Atomic uint64 tokens;
	_Atomic uint64 batches;
	_Atomic uint64 microseconds;
	_Atomic int64 loaded_at;
	_Atomic int64 last_used;
	_Atomic uint64 incarnation; /* of shared memory that segment is in */
	_Atomic uint64 segment_bytes;
	_Atomic uint32 segment;
	char		pad[2 * TE_CACHE_LINE - 124];
} ControlImage;

typedef struct ControlBackend
{
	_Atomic uint64 owner;		/* process id << 32 | start time; 0: free */
	_Atomic uint64 uses[USE_WORDS]; /* a bit for each image slot */
	char		pad[TE_CACHE_LINE - 8 * (USE_WORDS + 1)];
} ControlBackend;

/* A training; of the process with this owner. */
typedef struct ControlTraining
{
	_Atomic uint64 owner;
	_Atomic uint64 words[TRAINING_WORDS];	/* a TrProgress, whose members may be of different moments */
	char		pad[2 * TE_CACHE_LINE - 8 * (TRAINING_WORDS + 1)];
} ControlTraining;

typedef struct Control
{
	ControlHeader header;
	ControlImage images[TR_MAX_IMAGES];
	_Atomic uint16 threads[CONTROL_BACKENDS];	/* dense: summed up for each grant */
	ControlBackend backends[CONTROL_BACKENDS];
	ControlTraining trainings[TR_MAX_TRAININGS];
} Control;

StaticAssertDecl(sizeof(ControlHeader) == TE_CACHE_LINE, "layout of the control file's header");
StaticAssertDecl(sizeof(ControlImage) == 2 * TE_CACHE_LINE, "layout of the control file's images");
StaticAssertDecl(sizeof(TrProgress) == 8 * TRAINING_WORDS, "progress is made of words");
StaticAssertDecl(sizeof(ControlTraining) == 2 * TE_CACHE_LINE, "layout of the control file's trainings");
StaticAssertDecl(sizeof(ControlBackend) == TE_CACHE_LINE, "layout of the control file's backends");

static Control *control = NULL;
static bool control_is_shared;
static dev_t control_device;	/* which file is mapped */
static ino_t control_inode;
static int	my_slot = -1;
static uint64 my_owner;

/* ---- files and locks of the kernel ---- */

bool
tr_flock_try(int fd)
{
	int			rc;

	do
		rc = flock(fd, LOCK_EX | LOCK_NB);
	while (rc != 0 && errno == EINTR);
	if (rc != 0 && errno != EWOULDBLOCK)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not lock a file in \"%s\": %m", TR_CACHE_DIRECTORY)));
	return rc == 0;
}

/* Polls, since a wait inside flock() could not be cancelled. */
void
tr_flock(int fd)
{
	long		delay = 1;		/* ms */

	while (!tr_flock_try(fd))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 delay, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		delay = Min(delay * 2, 20);
	}
}

bool
tr_same_file(int fd, const char *path)
{
	struct stat ours;
	struct stat there;

	return fstat(fd, &ours) == 0 && stat(path, &there) == 0 &&
		ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

int
tr_cache_directory(void)
{
	return mkdir(TR_CACHE_DIRECTORY, S_IRWXU) == 0 || errno == EEXIST ? 0 : errno;
}

/* ---- the file ---- */

static bool
control_valid(int fd)
{
	ControlHeader header;
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size == sizeof(Control) &&
		pg_pread(fd, &header, sizeof(header), 0) == sizeof(header) &&
		header.magic == CONTROL_MAGIC && header.layout == CONTROL_LAYOUT &&
		header.bytes == sizeof(Control);
}

/*
 * Make the file under a temporary name, then put it in place of what is there
 * (nothing, or what is not valid).  The temporary file is its own lock: who
 * gets it and finds that it has been renamed meanwhile has nothing to do.
 */
static bool
control_make(void)
{
	const char *path = CONTROL_PATH ".tmp";
	ControlHeader header = {.magic = CONTROL_MAGIC,.layout = CONTROL_LAYOUT,.bytes = sizeof(Control)};
	int			fd;
	bool		ok = true;

	if (tr_cache_directory() != 0)
		return false;
	fd = OpenTransientFilePerm(path, O_RDWR | O_CREAT | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return false;
	tr_flock(fd);
	if (tr_same_file(fd, path))
	{
		ok = ftruncate(fd, 0) == 0 &&
			posix_fallocate(fd, 0, sizeof(Control)) == 0 &&
			pg_pwrite(fd, &header, sizeof(header), 0) == sizeof(header) &&
			rename(path, CONTROL_PATH) == 0;
		if (!ok)
			(void) unlink(path);
	}
	CloseTransientFile(fd);
	return ok;
}

static int
control_open(void)
{
	for (int attempt = 0; attempt < 2; attempt++)
	{
		int			fd = OpenTransientFile(CONTROL_PATH, O_RDWR | PG_BINARY);

		if (fd >= 0 && control_valid(fd))
			return fd;
		if (fd >= 0)
			CloseTransientFile(fd);
		if (attempt == 0 && !control_make())
			break;
	}
	return -1;
}

static void release_slot(int code, Datum arg);

/* Map the file; where that is impossible, memory of our own of the same form. */
static void
control_attach(void)
{
	static bool registered = false;
	int			fd = control_open();
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0)
	{
		control = mmap(NULL, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		control_is_shared = control != MAP_FAILED;
		control_device = st.st_dev;
		control_inode = st.st_ino;
	}
	if (fd >= 0)
		CloseTransientFile(fd);
	if (fd < 0 || control == MAP_FAILED)
	{
		control_is_shared = false;
		control = mmap(NULL, sizeof(Control), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (control == MAP_FAILED)
	{
		control = NULL;
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	}
	my_slot = -1;
	if (!registered)
		on_proc_exit(release_slot, 0);
	registered = true;
}

static inline Control *
get_control(void)
{
	if (unlikely(control == NULL))
		control_attach();
	return control;
}

/*
 * Also the moment to see that the file we map is still the one that others
 * get, since somebody may have removed the directory.
 */
int
tr_control_lock(void)
{
	for (;;)
	{
		struct stat st;
		int			fd = control_open();

		if (fd < 0)
			return -1;
		tr_flock(fd);
		if (!tr_same_file(fd, CONTROL_PATH))
		{
			CloseTransientFile(fd);
			continue;
		}
		if (control != NULL && fstat(fd, &st) == 0 &&
			(!control_is_shared || st.st_dev != control_device || st.st_ino != control_inode))
		{
			release_slot(0, 0);
			(void) munmap(control, sizeof(Control));
			control = NULL;
		}
		return fd;
	}
}

void
tr_control_unlock(int fd)
{
	if (fd >= 0)
		CloseTransientFile(fd);
}

/* ---- backends ---- */

/*
 * When a process began, in ticks since the machine's start, cut to 32 bits: a
 * process id together with this is not used twice.  0 where the system does
 * not tell; then the process id alone must do.
 */
static uint32
process_start(pid_t pid)
{
	char		path[64];
	char		line[1024];
	char	   *field;
	int			fd;
	ssize_t		n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
	fd = OpenTransientFile(path, O_RDONLY);
	if (fd < 0)
		return 0;
	n = read(fd, line, sizeof(line) - 1);
	CloseTransientFile(fd);
	line[Max(n, 0)] = '\0';

	/* The command's name, which may hold anything, ends with the last parenthesis; field 3 follows, we want 22. */
	field = strrchr(line, ')');
	for (int i = 3; field != NULL && i <= 22; i++)
		field = strchr(field + 1, ' ');
	return field != NULL ? (uint32) strtoull(field + 1, NULL, 10) : 0;
}

/* A process that we may not signal is none of this server's. */
static bool
is_alive(uint64 owner)
{
	pid_t		pid = (pid_t) (owner >> 32);
	uint32		start;

	if (pid <= 0 || kill(pid, 0) != 0)
		return false;
	start = process_start(pid);
	return start == 0 || (uint32) owner == 0 || start == (uint32) owner;
}

/* What a slot held belongs to nobody now; owner is what it was seen with. */
static void
free_slot(int slot, uint64 owner)
{
	ControlBackend *backend = &control->backends[slot];

	if (atomic_load(&backend->owner) != owner)
		return;
	atomic_store(&control->threads[slot], 0);
	for (int i = 0; i < USE_WORDS; i++)
		atomic_store(&backend->uses[i], 0);
	(void) atomic_compare_exchange_strong(&backend->owner, &owner, 0);
}

static void
release_slot(int code, Datum arg)
{
	if (control != NULL && my_slot >= 0)
		free_slot(my_slot, my_owner);
	my_slot = -1;
}

/* Slots in use end here; the number in the file is bounded before it is believed. */
static inline int
slots_end(void)
{
	return (int) Min(atomic_load(&control->header.high), CONTROL_BACKENDS);
}

static void
reclaim_slots(void)
{
	for (int i = 0; i < slots_end(); i++)
	{
		uint64		owner = atomic_load(&control->backends[i].owner);

		if (owner != 0 && owner != my_owner && !is_alive(owner))
			free_slot(i, owner);
	}
}

static bool
claim_slot(void)
{
	for (int i = 0; i < CONTROL_BACKENDS; i++)
	{
		uint64		none = 0;
		uint32		high;

		if (!atomic_compare_exchange_strong(&control->backends[i].owner, &none, my_owner))
			continue;
		high = atomic_load(&control->header.high);
		while (high < (uint32) i + 1 &&
			   !atomic_compare_exchange_weak(&control->header.high, &high, i + 1))
			;
		my_slot = i;
		return true;
	}
	return false;
}

/* This backend's slot, or -1 where all are taken. */
static int
get_slot(void)
{
	(void) get_control();
	if (likely(my_slot >= 0))
		return my_slot;
	if (my_owner == 0)
		my_owner = (uint64) MyProcPid << 32 | process_start(MyProcPid);
	if (!claim_slot())
	{
		reclaim_slots();
		(void) claim_slot();
	}
	return my_slot;
}

/* ---- threads ---- */

static int
thread_limit(void)
{
	static int	cores = 0;

	if (tr_max_threads > 0)
		return tr_max_threads;
	if (cores == 0)
		cores = Max((int) sysconf(_SC_NPROCESSORS_ONLN), 1);
	return cores;
}

static int
threads_in_use(void)
{
	int			end = slots_end();
	int			sum = 0;

	for (int i = 0; i < end; i++)
		sum += atomic_load_explicit(&control->threads[i], memory_order_relaxed);
	return sum;
}

/* At most once in a while: processes that died with threads in their name are rare. */
static void
reclaim_threads(void)
{
	static double last = 0;
	double		now = te_host_seconds();

	if (now - last < RECLAIM_INTERVAL)
		return;
	last = now;
	reclaim_slots();
}

/*
 * First we take what we want, then look at the sum and give back what is too
 * much.  So two that ask at once may both get too little, never too much, and
 * no counter is shared that a dead process could leave wrong.
 */
int
tr_threads_acquire(int wanted)
{
	int			slot = get_slot();
	int			excess;

	if (slot < 0)
		return 1;
	wanted = Max(wanted, 1);
	atomic_fetch_add(&control->threads[slot], (uint16) wanted);
	excess = threads_in_use() - thread_limit();
	if (excess > 0)
	{
		reclaim_threads();
		excess = Min(threads_in_use() - thread_limit(), wanted - 1);
	}
	if (excess > 0)
	{
		atomic_fetch_sub(&control->threads[slot], (uint16) excess);
		wanted -= excess;
	}
	return wanted;
}

void
tr_threads_release(int granted)
{
	uint16		held;

	if (control == NULL || my_slot < 0)
		return;

	/* Only we change it, but for one who takes us for dead; what tr_threads_release_all() took is not taken twice. */
	held = atomic_load(&control->threads[my_slot]);
	atomic_store(&control->threads[my_slot], held - Min(held, (uint16) granted));
}

void
tr_threads_release_all(void)
{
	if (control != NULL && my_slot >= 0)
		atomic_store(&control->threads[my_slot], 0);
}

/* ---- images ---- */

/*
 * Which shared memory DSM handles belong to: a crash makes it anew, and all
 * segments go.  The control segment's handle is drawn at random each time.
 */
static uint64
shared_memory_incarnation(void)
{
	const PGShmemHeader *header = UsedShmemSegAddr;

	return (uint64) header->creatorPID << 32 | header->dsm_control;
}

/* The search begins at the digest's first byte, so that it mostly ends there. */
static inline int
probe(const uint8 *digest, int i)
{
	return (digest[0] + i) % TR_MAX_IMAGES;
}

static int
find_slot(const uint8 *digest)
{
	for (int i = 0; i < TR_MAX_IMAGES; i++)
	{
		ControlImage *image = &control->images[probe(digest, i)];

		if (atomic_load(&image->used) && memcmp(image->digest, digest, TR_DIGEST_LENGTH) == 0)
			return probe(digest, i);
	}
	return -1;
}

/*
 * A free slot, or else that of the image unused for longest, which loses its
 * statistics.  An image with a pin or a segment loses its slot last.
 */
static int
slot_to_use(const uint8 *digest)
{
	int			best = 0;
	int64		best_age = PG_INT64_MAX;

	for (int i = 0; i < TR_MAX_IMAGES; i++)
	{
		int			slot = probe(digest, i);
		ControlImage *image = &control->images[slot];
		int64		age = atomic_load(&image->last_used);

		if (!atomic_load(&image->used))
			return slot;
		if (atomic_load(&image->pinned) || atomic_load(&image->segment) != 0)
			age = Max(age, GetCurrentTimestamp());
		if (age < best_age)
		{
			best = slot;
			best_age = age;
		}
	}
	return best;
}

static void
init_slot(ControlImage *image, const uint8 *digest)
{
	atomic_store(&image->used, 0);
	memset((char *) image + sizeof(image->used), 0, sizeof(*image) - sizeof(image->used));
	memcpy(image->digest, digest, TR_DIGEST_LENGTH);
	atomic_store(&image->last_used, GetCurrentTimestamp());
	atomic_store(&image->used, 1);
}

int
tr_control_slot(const uint8 *digest, bool make)
{
	int			slot;
	int			fd;

	(void) get_control();
	slot = find_slot(digest);
	if (slot >= 0 || !make)
		return slot;
	fd = tr_control_lock();
	(void) get_control();		/* the lock may have found another file */
	slot = find_slot(digest);
	if (slot < 0)
	{
		slot = slot_to_use(digest);
		init_slot(&control->images[slot], digest);
	}
	tr_control_unlock(fd);
	return slot;
}

int
tr_control_users(int slot)
{
	int			users = 0;

	(void) get_control();
	for (int i = 0; i < slots_end(); i++)
	{
		ControlBackend *backend = &control->backends[i];
		uint64		owner = atomic_load(&backend->owner);

		if (owner != 0 && (atomic_load(&backend->uses[slot / 64]) >> (slot % 64) & 1) != 0 && is_alive(owner))
			users++;
	}
	return users;
}

bool
tr_control_read(int slot, TrImageInfo *into)
{
	ControlImage *image = &get_control()->images[slot];

	if (!atomic_load(&image->used))
		return false;
	memcpy(into->digest, image->digest, TR_DIGEST_LENGTH);
	into->pinned = atomic_load(&image->pinned) != 0;
	into->hits = atomic_load(&image->hits);
	into->calls = atomic_load(&image->calls);
	into->rows = atomic_load(&image->rows);
	into->tokens = atomic_load(&image->tokens);
	into->batches = atomic_load(&image->batches);
	into->microseconds = atomic_load(&image->microseconds);
	into->loaded_at = atomic_load(&image->loaded_at);
	into->last_used = atomic_load(&image->last_used);
	into->bytes = atomic_load(&image->segment_bytes);
	into->segment = atomic_load(&image->incarnation) == shared_memory_incarnation() ?
		atomic_load(&image->segment) : 0;
	return true;
}

void
tr_control_loaded(int slot)
{
	atomic_store(&get_control()->images[slot].loaded_at, GetCurrentTimestamp());
}

void
tr_control_hit(int slot)
{
	ControlImage *image = &get_control()->images[slot];

	atomic_fetch_add(&image->hits, 1);
	atomic_store(&image->last_used, GetCurrentStatementStartTimestamp());
}

void
tr_control_account(int slot, const TeUsage *usage)
{
	ControlImage *image = &get_control()->images[slot];

	atomic_fetch_add(&image->calls, 1);
	atomic_fetch_add(&image->rows, usage->rows);
	atomic_fetch_add(&image->tokens, usage->tokens);
	atomic_fetch_add(&image->batches, usage->batches);
	atomic_fetch_add(&image->microseconds, (uint64) (usage->seconds * 1e6));
}

void
tr_control_pin(int slot, bool pinned)
{
	atomic_store(&get_control()->images[slot].pinned, pinned ? 1 : 0);
}

void
tr_control_use(int slot, bool used)
{
	uint64		bit = UINT64CONST(1) << (slot % 64);
	int			mine = get_slot();

	if (mine < 0)
		return;
	if (used)
		atomic_fetch_or(&control->backends[mine].uses[slot / 64], bit);
	else
		atomic_fetch_and(&control->backends[mine].uses[slot / 64], ~bit);
}

/* segment 0: it is gone. */
void
tr_control_set_segment(int slot, uint32 segment, uint64 bytes)
{
	ControlImage *image = &get_control()->images[slot];

	atomic_store(&image->segment, 0);
	atomic_store(&image->segment_bytes, bytes);
	atomic_store(&image->incarnation, shared_memory_incarnation());
	atomic_store(&image->segment, segment);
}

/* ---- trainings ---- */

/* Those of dead processes are free. */
int
tr_control_training_begin(void)
{
	if (get_slot() < 0)
		return -1;
	for (int i = 0; i < TR_MAX_TRAININGS; i++)
	{
		ControlTraining *training = &control->trainings[i];
		uint64		owner = atomic_load(&training->owner);

		if (owner != 0 && is_alive(owner))
			continue;
		if (!atomic_compare_exchange_strong(&training->owner, &owner, my_owner))
			continue;
		for (int w = 0; w < TRAINING_WORDS; w++)
			atomic_store(&training->words[w], 0);
		return i;
	}
	return -1;
}

/* The file may have been made anew meanwhile; then the slot is not ours. */
static ControlTraining *
my_training(int slot)
{
	if (slot < 0 || atomic_load(&get_control()->trainings[slot].owner) != my_owner)
		return NULL;
	return &control->trainings[slot];
}

void
tr_control_training_set(int slot, const TrProgress *progress)
{
	ControlTraining *training = my_training(slot);
	uint64		words[TRAINING_WORDS];

	memcpy(words, progress, sizeof(words));
	for (int w = 0; training != NULL && w < TRAINING_WORDS; w++)
		atomic_store_explicit(&training->words[w], words[w], memory_order_relaxed);
}

void
tr_control_training_end(int slot)
{
	ControlTraining *training = my_training(slot);

	if (training != NULL)
		atomic_store(&training->owner, 0);
}

int
tr_control_trainings(TrProgress *into, int most)
{
	int			n = 0;

	for (int i = 0; i < TR_MAX_TRAININGS && n < most; i++)
	{
		ControlTraining *training = &get_control()->trainings[i];
		uint64		owner = atomic_load(&training->owner);
		uint64		words[TRAINING_WORDS];

		if (owner == 0 || !is_alive(owner))
			continue;
		for (int w = 0; w < TRAINING_WORDS; w++)
			words[w] = atomic_load_explicit(&training->words[w], memory_order_relaxed);
		memcpy(&into[n], words, sizeof(words));
		if (into[n].database == MyDatabaseId && into[n].run > 0)
			n++;
	}
	return n;
}
