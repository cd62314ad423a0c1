#include "decoder/replay/play_threads.h"

#include <stdio.h>
#include <stdlib.h>

#include "decoder/model/table.h"

/* A call on its way to its thread. */
struct errand {
  const struct call *call;
  struct call copy;
  struct arena memory;
  uint64_t number, after, pause;
  struct errand *next;
};

/* A thread, and its place in results->thread. */
struct seat {
  struct threads *threads;
  pthread_t thread;
  bool there, leave;
  uint32_t tid;
  uint64_t used; /* number of the last call that it got */
  struct errand *first, *last;
  pthread_cond_t wake;
  struct worker worker;
};

struct threads {
  struct play *play;
  pthread_mutex_t lock;
  pthread_cond_t moved; /* for the reader: a call is over */
  struct seat seat[RESULTS_THREADS];
  unsigned seats;           /* that were ever used */
  uint64_t given, over;     /* all up to `over` are over */
  bool done[THREADS_AHEAD]; /* of those behind `over`: by number */
  struct errand *spare;
};

struct threads *threads_new(struct play *play)
{
  struct threads *threads = model_alloc(sizeof *threads);
  threads->play = play;
  pthread_mutex_init(&threads->lock, NULL);
  pthread_cond_init(&threads->moved, NULL);
  for (unsigned i = 0; i < RESULTS_THREADS; i++) {
    threads->seat[i].threads = threads;
    threads->seat[i].worker.place = i;
    pthread_cond_init(&threads->seat[i].wake, NULL);
  }
  return threads;
}

/* A call is over: who waited for it? */
static void over(struct threads *threads, uint64_t number)
{
  const uint64_t before = threads->over;
  threads->done[number % THREADS_AHEAD] = true;
  while (threads->over < threads->given && threads->done[(threads->over + 1) % THREADS_AHEAD])
    threads->done[++threads->over % THREADS_AHEAD] = false;
  if (threads->over == before) return;
  for (unsigned i = 0; i < threads->seats; i++) {
    const struct errand *first = threads->seat[i].first;
    if (first && first->after > before && first->after <= threads->over) pthread_cond_signal(&threads->seat[i].wake);
  }
}

static void *run(void *argument)
{
  struct seat *seat = argument;
  struct threads *threads = seat->threads;
  pthread_mutex_lock(&threads->lock);
  for (;;) {
    struct errand *errand = seat->first;
    if (!errand && seat->leave) break;
    if (!errand || errand->after > threads->over) {
      pthread_cond_wait(&seat->wake, &threads->lock);
      continue;
    }
    pthread_mutex_unlock(&threads->lock);
    if (!play_stopped(threads->play)) {
      play_sleep(threads->play, errand->pause);
      play_call(threads->play, &seat->worker, errand->call);
    }
    pthread_mutex_lock(&threads->lock);
    seat->first = errand->next;
    if (!seat->first) seat->last = NULL;
    over(threads, errand->number);
    errand->next = threads->spare;
    threads->spare = errand;
    pthread_cond_signal(&threads->moved);
  }
  pthread_mutex_unlock(&threads->lock);
  return NULL;
}

/* The thread ends; the lock is held. */
static void dismiss(struct threads *threads, struct seat *seat)
{
  seat->leave = true;
  pthread_cond_signal(&seat->wake);
  pthread_mutex_unlock(&threads->lock);
  pthread_join(seat->thread, NULL);
  pthread_mutex_lock(&threads->lock);
  live_free(&seat->worker.live);
  seat->there = seat->leave = false;
}

/* A place for a thread that has none: a free one, else that of the thread that has been idle longest (an application may have
 * had any number of threads, one after another). */
static struct seat *find_place(struct threads *threads)
{
  for (;;) {
    struct seat *idle = NULL;
    for (unsigned i = 0; i < RESULTS_THREADS; i++) {
      struct seat *seat = &threads->seat[i];
      if (!seat->there) return seat;
      if (!seat->first && (!idle || seat->used < idle->used)) idle = seat;
    }
    if (idle) {
      dismiss(threads, idle);
      return idle;
    }
    pthread_cond_wait(&threads->moved, &threads->lock);
  }
}

static struct seat *seat_of(struct threads *threads, uint32_t tid)
{
  for (unsigned i = 0; i < threads->seats; i++)
    if (threads->seat[i].there && threads->seat[i].tid == tid) return &threads->seat[i];
  struct seat *seat = find_place(threads);
  if (seat - threads->seat >= threads->seats) threads->seats = (unsigned)(seat - threads->seat) + 1;
  seat->tid = tid;
  seat->there = true;
  if (pthread_create(&seat->thread, NULL, run, seat) != 0) {
    fputs("p11trace: replay: no more threads can be made\n", stderr);
    exit(2);
  }
  return seat;
}

uint64_t threads_give(struct threads *threads, const struct call *call, uint64_t after, uint64_t pause, bool copied)
{
  pthread_mutex_lock(&threads->lock);
  while (threads->given - threads->over >= THREADS_AHEAD - 1) pthread_cond_wait(&threads->moved, &threads->lock);
  struct seat *seat = seat_of(threads, call->tid);
  struct errand *errand = threads->spare;
  if (errand) threads->spare = errand->next;
  pthread_mutex_unlock(&threads->lock);
  if (!errand) errand = model_alloc(sizeof *errand);
  errand->call = copied ? &errand->copy : call;
  errand->after = after;
  errand->pause = pause;
  errand->next = NULL;
  if (copied) {
    arena_reset(&errand->memory);
    call_copy(&errand->copy, call, &errand->memory);
  }
  pthread_mutex_lock(&threads->lock);
  errand->number = seat->used = ++threads->given;
  if (seat->last)
    seat->last->next = errand;
  else
    seat->first = errand;
  seat->last = errand;
  if (seat->first == errand) pthread_cond_signal(&seat->wake);
  pthread_mutex_unlock(&threads->lock);
  return errand->number;
}

void threads_wait(struct threads *threads, uint64_t number)
{
  pthread_mutex_lock(&threads->lock);
  while (threads->over < number) pthread_cond_wait(&threads->moved, &threads->lock);
  pthread_mutex_unlock(&threads->lock);
}

uint64_t threads_given(const struct threads *threads)
{
  return threads->given; /* changed by the reader alone */
}

void threads_free(struct threads *threads)
{
  pthread_mutex_lock(&threads->lock);
  for (unsigned i = 0; i < RESULTS_THREADS; i++)
    if (threads->seat[i].there) dismiss(threads, &threads->seat[i]);
  pthread_mutex_unlock(&threads->lock);
  for (struct errand *errand; (errand = threads->spare);) {
    threads->spare = errand->next;
    arena_free(&errand->memory);
    free(errand);
  }
  for (unsigned i = 0; i < RESULTS_THREADS; i++) pthread_cond_destroy(&threads->seat[i].wake);
  pthread_cond_destroy(&threads->moved);
  pthread_mutex_destroy(&threads->lock);
  free(threads);
}
