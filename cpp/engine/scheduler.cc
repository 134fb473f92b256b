#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

namespace tramontane {

Scheduler::Scheduler(PagePool& pool, const SequenceLimits& limits, int32_t max_running,
                     int32_t max_outputs)
    : pool_(pool), limits_(limits), max_running_(max_running), max_outputs_(max_outputs) {}

void Scheduler::submit(std::unique_ptr<Task>* task) {
  auto entry =
      std::make_unique<Entry>(pool_, limits_, (*task)->root, prompt_tokens_ + (*task)->count());
  entries_.reserve(entries_.size() + 1);
  const int32_t priority = (*task)->priority;
  const auto place = std::find_if(entries_.begin(), entries_.end(), [&](const EntryPtr& other) {
    return other->task->priority < priority;
  });
  entry->task = std::move(*task);
  entries_.insert(place, std::move(entry));
}

Task* Scheduler::find(uint64_t id) {
  for (const EntryPtr& entry : entries_) {
    if (entry->task->id == id) return entry->task.get();
  }
  return nullptr;
}

void Scheduler::for_each(const std::function<void(Task&)>& body) {
  for (const EntryPtr& entry : entries_) body(*entry->task);
}

int32_t Scheduler::running() const {
  return static_cast<int32_t>(std::count_if(
      entries_.begin(), entries_.end(),
      [](const EntryPtr& entry) { return entry->started && !entry->task->paused(); }));
}

std::vector<Piece> Scheduler::plan() {
  std::vector<Piece> pieces;
  plan_generations(&pieces);
  plan_prompts(&pieces);
  return pieces;
}

void Scheduler::plan_generations(std::vector<Piece>* pieces) {
  for (const EntryPtr& entry : entries_) {
    if (!entry->generating() || entry->task->paused()) continue;
    if (static_cast<int32_t>(pieces->size()) == max_running_) return;
    while (!add(*entry, 1, pieces)) {
      Entry* victim = last_paused();
      if (victim == nullptr) victim = last_behind(*entry, false);
      if (victim == nullptr) break;  // It goes on when somebody has ended.
      preempt(*victim, pieces);
    }
  }
}

void Scheduler::plan_prompts(std::vector<Piece>* pieces) {
  const std::vector<Entry*> waiting = prompts_by_rank();
  const auto count = [](const auto& all) { return static_cast<int32_t>(all.size()); };
  int32_t rows = prompt_rows(count(*pieces), count(waiting));
  int32_t prompts = 0, looked_up = 0;
  blocked_ = false;
  for (Entry* entry : waiting) {
    const auto is_full = [&] { return static_cast<int32_t>(pieces->size()) == max_running_; };
    // A request of higher priority takes the place of one that is in the step already.
    if (rows == 0 || (is_full() && (entry->started || !last_behind(*entry, true)))) return;
    const Task& task = *entry->task;
    Sequence::Cached cached;
    if (entry->started) {
      entry->sequence.catch_up(task.tokens().data(), task.count(), task.first_wanted());
    } else if (looked_up++ >= kLookUps) {
      continue;
    } else {
      cached = entry->sequence.find_cached(task.tokens().data(), task.count(), task.first_wanted());
    }
    const int32_t position = entry->sequence.committed() + cached.pages * kPageTokens;
    const int32_t pending = task.count() - position;
    if (prompts > 0 && (pending > rows || starts_alike(task, position, *pieces))) continue;
    // When one cannot start, later ones do not take the pages that it waits for.
    if (!entry->started && !start(*entry, cached, pieces)) {
      looked_up = kLookUps;
      blocked_ = true;
    }
    if (!entry->started || is_full()) continue;
    if (!add(*entry, std::min(pending, rows), pieces)) continue;
    rows -= pieces->back().rows;
    ++prompts;
  }
}

std::vector<Scheduler::Entry*> Scheduler::prompts_by_rank() const {
  std::vector<Entry*> prompts;
  for (const EntryPtr& entry : entries_) {
    if (!entry->generating() && !entry->task->paused()) prompts.push_back(entry.get());
  }
  std::stable_sort(prompts.begin(), prompts.end(), [](const Entry* a, const Entry* b) {
    if (a->task->priority != b->task->priority) return a->task->priority > b->task->priority;
    return a->rank < b->rank;
  });
  return prompts;
}

// Rows of prompts, of which so many wait, beside so many generations.
int32_t Scheduler::prompt_rows(int32_t generations, int32_t prompts) const {
  if (generations == 0) return kPromptRows;
  const double may_join = std::min(prompts, max_running_ - generations);
  const double most =
      kMostGap * std::max(1.0, may_join / generations) * times_.estimate(generations);
  int32_t rows = kPromptRows;
  while (rows > kLeastPromptRows && times_.estimate(generations + rows) > most) --rows;
  // Kernels take rows in fours.
  return std::max(kLeastPromptRows, rows - (generations + rows) % 4);
}

// Takes over what is cached of it, when there are pages for the rest beside what others were
// promised. Paused generations, and those of lower priority, give theirs back for it.
bool Scheduler::start(Entry& entry, const Sequence::Cached& cached, std::vector<Piece>* pieces) {
  const Task& task = *entry.task;
  for (;;) {
    // Pages that others own already are shared, not taken from the pool.
    const auto shared = std::count_if(cached.held.begin(), cached.held.end(), [&](int32_t page) {
      return page >= 0 && pool_.owners(page) > 0;
    });
    int32_t pages = pages_needed(limits_, task.count(), kPromptRows) - static_cast<int32_t>(shared);
    bool alone = true;
    for (const EntryPtr& other : entries_) {
      if (!other->started) continue;
      alone = false;
      if (!other->task->paused()) pages += other->generating() ? 1 : pages_to_come(*other);
    }
    const bool has_slot = running() < max_running_;
    if (has_slot && (alone || pages <= pool_.available())) {
      entry.started = true;
      entry.task->start(entry.sequence.resume(cached));
      return true;
    }
    Entry* victim = has_slot ? last_paused() : nullptr;
    if (victim == nullptr) victim = last_behind(entry, true);
    if (victim == nullptr) return false;
    preempt(*victim, pieces);
  }
}

// As many of the sequence's next tokens as fit into `rows`, the step's outputs and the pages.
bool Scheduler::add(Entry& entry, int32_t rows, std::vector<Piece>* pieces) {
  const int32_t position = entry.sequence.committed();
  int32_t room = max_outputs_;
  for (const Piece& piece : *pieces) {
    room -= outputs(*piece.task, piece.sequence->committed(), piece.rows);
  }
  rows = std::min(rows, entry.pending());
  while (rows > 0 && outputs(*entry.task, position, rows) > room) --rows;
  const int32_t pages = free_pages(entry);
  while (rows > 0 && entry.sequence.new_pages(rows) > pages) --rows;
  if (rows <= 0 || !entry.sequence.reserve(rows)) return false;
  pieces->push_back({entry.task.get(), &entry.sequence, rows});
  return true;
}

int32_t Scheduler::outputs(const Task& task, int32_t position, int32_t rows) const {
  int32_t count = 0;
  for (int32_t row = 0; row < rows; ++row) count += task.wants(position + row);
  return count;
}

// Whether a piece of the step computes the page that this prompt would compute next: it is taken
// over when it is there.
bool Scheduler::starts_alike(const Task& task, int32_t position,
                             const std::vector<Piece>& pieces) const {
  const int32_t end = (position / kPageTokens + 1) * kPageTokens;
  if (end > std::min(task.count() - 1, task.first_wanted())) return false;
  const int32_t* tokens = task.tokens().data();
  return std::any_of(pieces.begin(), pieces.end(), [&](const Piece& piece) {
    return piece.task->root == task.root && piece.sequence->committed() < end &&
           piece.task->count() >= end &&
           std::equal(tokens, tokens + end, piece.task->tokens().data());
  });
}

// Pages that are not promised to other prompts.
int32_t Scheduler::free_pages(const Entry& entry) const {
  int32_t promised = 0;
  for (const EntryPtr& other : entries_) {
    if (other.get() != &entry && other->started && !other->generating()) {
      promised += pages_to_come(*other);
    }
  }
  return pool_.available() - promised;
}

// Pages a started prompt still takes from the pool, at most.
int32_t Scheduler::pages_to_come(const Entry& entry) const {
  const int32_t all = pages_needed(limits_, entry.task->count(), kPromptRows);
  const int32_t rest = entry.sequence.new_pages(entry.task->count() - entry.sequence.written());
  return std::max(0, std::min(all - entry.sequence.pages_held(), rest));
}

Scheduler::Entry* Scheduler::last_paused() const {
  const auto found = std::find_if(entries_.rbegin(), entries_.rend(), [](const EntryPtr& entry) {
    return entry->started && entry->task->gives_way();
  });
  return found == entries_.rend() ? nullptr : found->get();
}

// The last in order that holds pages, if it is behind `entry`.
Scheduler::Entry* Scheduler::last_behind(const Entry& entry, bool lower_priority) const {
  const auto found = std::find_if(entries_.rbegin(), entries_.rend(), [&](const EntryPtr& other) {
    return other->started || other.get() == &entry;
  });
  Entry* last = found->get();
  if (last == &entry) return nullptr;
  if (lower_priority && last->task->priority >= entry.task->priority) return nullptr;
  return last;
}

// Takes its pages; they are computed again when it starts again.
void Scheduler::preempt(Entry& entry, std::vector<Piece>* pieces) {
  std::erase_if(*pieces, [&](const Piece& piece) { return piece.task == entry.task.get(); });
  entry.sequence.release();
  entry.started = false;
  entry.task->restart();
}

void Scheduler::commit(const std::vector<Piece>& pieces, double seconds) {
  int32_t rows = 0, prompts = 0, generations = 0;
  for (const auto& [task, sequence, count] : pieces) {
    rows += count;
    const bool prompt = sequence->committed() + 1 < task->count();
    (prompt ? prompts : generations) += 1;
    if (prompt) prompt_tokens_ += count;
    sequence->add_written(count);
    sequence->commit(task->tokens().data(), sequence->written());
  }
  times_.add(rows, seconds);
  if (prompts > 0 && generations > 0) times_.doubt_above(rows);
}

int32_t Scheduler::drop_ended() {
  const auto ended = [](const EntryPtr& entry) { return entry->task->ended(); };
  return static_cast<int32_t>(std::erase_if(entries_, ended));
}

}  // namespace tramontane
