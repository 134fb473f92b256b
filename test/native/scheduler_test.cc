// The scheduler with a model of arithmetic: thousands of random schedules.
#include "engine/scheduler.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "test.h"

using namespace tramontane;

namespace {

constexpr int32_t kMaxAhead = 8;

// The token after these. What a request answers is a function of its own tokens alone, as long as
// every row sees the right keys.
int32_t next_token(const std::vector<int32_t>& tokens) {
  uint64_t hash = 1469598103934665603u;
  for (const int32_t token : tokens) hash = (hash ^ static_cast<uint64_t>(token)) * 1099511628211u;
  return static_cast<int32_t>(hash % 1000);
}

// Draws `wanted` tokens after its prompt.
class FakeTask final : public Task {
 public:
  FakeTask(uint64_t id, int32_t priority, std::vector<int32_t> prompt, int32_t wanted)
      : Task(id, priority, std::move(prompt)), wanted(wanted) {}

  bool wants(int32_t position) const override { return position == count() - 1; }
  int32_t first_wanted() const override { return count() - 1; }
  bool paused() const override { return ahead >= kMaxAhead; }
  bool gives_way() const override { return paused(); }
  void restart() override { ++restarts; }
  void read(Backend&, int32_t, int32_t, const SampleResult&) override {}
  void take(std::vector<Event>* events) override {
    tokens_.push_back(next_token(tokens_));
    ++ahead;
    if (count() - prompt_length == wanted) end(Finish::kLength, events);
  }

  const int32_t wanted;
  int32_t ahead = 0, restarts = 0;
};

// What a schedule is made of.
struct Setting {
  uint32_t seed;
  int32_t window, pages, max_running, context;
};

// Plays one schedule: requests come, are read, paused and aborted, and the pages' contents are
// followed token by token.
class Play {
 public:
  explicit Play(const Setting& setting)
      : random_(setting.seed),
        setting_(setting),
        limits_{setting.window, setting.context, 512},
        pool_(setting.pages),
        scheduler_(pool_, limits_, setting.max_running, 256),
        contents_(static_cast<size_t>(setting.pages), std::vector<int32_t>(kPageTokens, -1)) {}

  // False when something is wrong.
  bool run(int32_t requests) {
    int32_t idle = 0;
    while (requests > 0 || !live_.empty()) {
      while (requests > 0 && random_() % 3 == 0) {
        arrive();
        --requests;
      }
      for (auto& [id, task] : live_) {
        if (random_() % 8 < reading_[id]) task->ahead = 0;
      }
      if (!live_.empty() && random_() % 40 == 0) abort();
      const std::vector<Piece> pieces = scheduler_.plan();
      if (!check_plan(pieces) || !compute(pieces)) return false;
      // Somebody who reads can always go on: after a few rounds without a step all readers have
      // come back, and there is one.
      idle = pieces.empty() ? idle + 1 : 0;
      if (idle > 200 && requests == 0) return fail("nothing goes on");
      if (++steps_ > 20000) return fail("somebody starves");
    }
    return pool_.in_use() == 0 || fail("pages were lost");
  }

  std::string problem;

 private:
  bool fail(const char* text) {
    problem = text;
    return false;
  }

  void arrive() {
    const auto id = next_id_++;
    const int32_t most = std::min(setting_.context, setting_.pages * kPageTokens);
    int32_t length = 1 + static_cast<int32_t>(random_() % (random_() % 4 == 0 ? most - 1 : 60));
    length = std::min(length, most - 1);
    std::vector<int32_t> prompt(static_cast<size_t>(length));
    // Prompts start alike for a while.
    const uint32_t kind = random_() % 3;
    const int32_t alike = static_cast<int32_t>(random_() % 100);
    for (int32_t i = 0; i < length; ++i) {
      prompt[i] = static_cast<int32_t>(i < alike ? kind * 100 + i : random_() % 1000);
    }
    const int32_t room = most - length + (setting_.window > 0 ? 0 : 1);
    const int32_t wanted = 1 + static_cast<int32_t>(random_() % std::min(40, std::max(1, room)));
    const int32_t priority = random_() % 10 == 0 ? 1 : 0;
    auto task = std::make_unique<FakeTask>(id, priority, std::move(prompt), wanted);
    reading_[id] = 1 + random_() % 8;
    live_[id] = task.get();
    std::unique_ptr<Task> owned = std::move(task);
    scheduler_.submit(&owned);
  }

  void abort() {
    auto victim = std::next(live_.begin(), static_cast<int64_t>(random_() % live_.size()));
    victim->second->end(Finish::kAborted, &events_);
    live_.erase(victim);
    scheduler_.drop_ended();
  }

  bool check_plan(const std::vector<Piece>& pieces) {
    int32_t rows = 0;
    std::set<const Task*> tasks;
    std::set<int32_t> written;
    for (const auto& [task, sequence, count] : pieces) {
      rows += count;
      if (count < 1) return fail("a piece without rows");
      if (!tasks.insert(task).second) return fail("two pieces of one request");
      if (task->paused() || task->ended()) return fail("a request takes part that does not go on");
      if (sequence->committed() + count > task->count()) return fail("rows beyond the tokens");
      const SequenceSlice slice = sequence->slice(0, count);
      for (int32_t p = slice.position; p < slice.position + count; ++p) {
        const int32_t page = slice.pages[(p / kPageTokens) % slice.page_count];
        if (page < 0 || page >= setting_.pages) return fail("a row without a page");
        if (pool_.owners(page) != 1) return fail("a page with two owners is written");
        if (p % kPageTokens == 0 || p == slice.position) {
          if (!written.insert(page).second) return fail("two sequences write one page");
        }
      }
    }
    if (static_cast<int32_t>(pieces.size()) > setting_.max_running) return fail("too many run");
    if (rows > 512) return fail("too many rows");
    if (pool_.in_use() + pool_.available() != setting_.pages) return fail("pages do not add up");
    return true;
  }

  // Every row writes its token and sees, in its window, the tokens of its own sequence.
  bool compute(const std::vector<Piece>& pieces) {
    for (const auto& [task, sequence, count] : pieces) {
      const SequenceSlice slice = sequence->slice(0, count);
      const std::vector<int32_t>& tokens = task->tokens();
      for (int32_t p = slice.position; p < slice.position + count; ++p) {
        content(slice, p) = tokens[p];
        const int32_t first = setting_.window == 0 ? 0 : std::max(0, p - setting_.window + 1);
        for (int32_t seen = first; seen <= p; ++seen) {
          if (content(slice, seen) != tokens[seen]) return fail("a row sees what is not its own");
        }
      }
    }
    if (!pieces.empty()) scheduler_.commit(pieces, 0.001 * (1 + random_() % 5));
    for (const Piece& piece : pieces) {
      auto* task = static_cast<FakeTask*>(piece.task);
      if (piece.sequence->committed() != task->count()) continue;
      task->take(&events_);
      if (!task->ended()) continue;
      std::vector<int32_t> alone(task->tokens().begin(),
                                 task->tokens().begin() + task->prompt_length);
      while (static_cast<int32_t>(alone.size()) < task->count()) alone.push_back(next_token(alone));
      if (alone != task->tokens()) return fail("other tokens than alone");
      live_.erase(task->id);
    }
    scheduler_.drop_ended();
    return true;
  }

  int32_t& content(const SequenceSlice& slice, int32_t position) {
    const int32_t page = slice.pages[(position / kPageTokens) % slice.page_count];
    return contents_[page][position % kPageTokens];
  }

  std::mt19937 random_;
  const Setting setting_;
  const SequenceLimits limits_;
  PagePool pool_;
  Scheduler scheduler_;
  std::vector<std::vector<int32_t>> contents_;  // [pages][32] the tokens whose keys a page holds.
  std::map<uint64_t, FakeTask*> live_;
  std::map<uint64_t, uint32_t> reading_;  // How often of eight times a reader comes by.
  std::vector<Event> events_;
  uint64_t next_id_ = 1;
  int32_t steps_ = 0;
};

// A scheduler that is told what to compute, for tests of who comes first.
class Line {
 public:
  explicit Line(int32_t pages = 1000, int32_t window = 0, int32_t max_running = 128)
      : pool(pages), scheduler(pool, {window, 8192, 512}, max_running, 256) {}

  FakeTask* submit(uint64_t id, int32_t length, int32_t wanted = 1, int32_t priority = 0,
                   int32_t start = -1) {
    std::vector<int32_t> prompt(static_cast<size_t>(length));
    for (int32_t i = 0; i < length; ++i) {
      prompt[i] = (start < 0 ? static_cast<int32_t>(id) * 10000 : start) + i;
    }
    auto task = std::make_unique<FakeTask>(id, priority, std::move(prompt), wanted);
    FakeTask* made = task.get();
    std::unique_ptr<Task> owned = std::move(task);
    scheduler.submit(&owned);
    return made;
  }

  // Plans and computes a step. [task id] = rows
  std::map<uint64_t, int32_t> step(double seconds = 0) {
    const std::vector<Piece> pieces = scheduler.plan();
    std::map<uint64_t, int32_t> rows;
    int32_t all = 0;
    for (const Piece& piece : pieces) {
      rows[piece.task->id] = piece.rows;
      all += piece.rows;
    }
    // By default a machine where a row costs a fifth of what reading the weights does.
    scheduler.commit(pieces, seconds > 0 ? seconds : 1 + 0.2 * all);
    for (const Piece& piece : pieces) {
      if (piece.sequence->committed() != piece.task->count()) continue;
      piece.task->take(&events);
      if (piece.task->ended()) ended.push_back(piece.task->id);
    }
    scheduler.drop_ended();
    return rows;
  }

  PagePool pool;
  Scheduler scheduler;
  std::vector<Event> events;
  std::vector<uint64_t> ended;
};

}  // namespace

TEST("random schedules: pages add up, nobody starves, everybody gets the tokens they get alone") {
  constexpr uint32_t kSchedules = 10'000;
  for (uint32_t seed = 0; seed < kSchedules; ++seed) {
    std::mt19937 random(seed);
    Setting setting{};
    setting.seed = seed;
    setting.window = random() % 2 == 0 ? 0 : 1 + static_cast<int32_t>(random() % 100);
    setting.pages = 8 + static_cast<int32_t>(random() % 30);
    setting.max_running = 1 + static_cast<int32_t>(random() % 12);
    setting.context = 400;
    Play play(setting);
    if (!play.run(1 + static_cast<int32_t>(random() % 14))) {
      test::fail(__FILE__, __LINE__, "seed " + std::to_string(seed) + ": " + play.problem);
      return;
    }
  }
}

TEST("a short prompt overtakes a long one, and does not wait for rows it does not need") {
  Line line;
  line.submit(1, 3000);
  line.step();
  line.submit(2, 16);
  const auto rows = line.step();
  CHECK_EQ(rows.size(), size_t{1});
  CHECK_EQ(rows.at(2), 16);
  CHECK_EQ(line.step().at(1), Scheduler::kPromptRows);
}

TEST("a short prompt overtakes a long one of which most is computed") {
  Line line;
  FakeTask* running = line.submit(1, 3000);
  int32_t computed = 0;
  while (computed < 2500) computed += line.step().at(running->id);
  line.submit(2, 200);
  CHECK_EQ(line.step().at(2), Scheduler::kPromptRows);
  CHECK_EQ(line.step().at(2), 200 - Scheduler::kPromptRows);
  CHECK_EQ(line.ended.size(), size_t{1});
}

TEST("a long prompt waits for no more than about its own length in tokens of later ones") {
  Line line;
  line.submit(1, 3000);
  uint64_t id = 2;
  int32_t others = 0;
  while (line.ended.empty() ||
         std::find(line.ended.begin(), line.ended.end(), 1u) == line.ended.end()) {
    line.submit(id++, 100);  // A new short prompt at every step.
    for (const auto& [task, rows] : line.step()) others += task == 1 ? 0 : rows;
    CHECK(others < 3600);
    if (others >= 3600) return;
  }
  CHECK(others > 1000);
}

TEST("beside running generations a step takes so many rows of prompts as its time allows") {
  Line line;
  FakeTask* running = line.submit(1, 16, 1000);
  for (int i = 0; i < 30; ++i) {
    line.step();
    running->ahead = 0;
  }
  line.submit(2, 3000);
  int32_t most = 0, total = 0;
  for (int i = 0; i < 40; ++i) {
    const auto rows = line.step();
    running->ahead = 0;
    CHECK_EQ(rows.at(1), 1);
    if (i < 10) continue;  // It learns what rows cost.
    most = std::max(most, rows.at(2));
    total += rows.at(2);
  }
  // A plain step takes 1.2, so that 3.6 are allowed: 13 rows in all.
  CHECK(most <= 14);
  CHECK(total >= 30 * 8);
}

TEST("where more prompts wait than generations run, a step takes more rows of them") {
  Line line;
  FakeTask* running = line.submit(1, 16, 1000);
  for (int i = 0; i < 30; ++i) {
    line.step();
    running->ahead = 0;
  }
  for (int i = 2; i <= 5; ++i) line.submit(i, 1000);
  int32_t most = 0, total = 0;
  for (int i = 0; i < 40; ++i) {
    const auto rows = line.step();
    running->ahead = 0;
    CHECK_EQ(rows.at(1), 1);
    int32_t all = 0;
    for (const auto& [id, count] : rows) all += count;
    if (i < 10) continue;  // It learns what rows cost.
    most = std::max(most, all);
    total += all;
  }
  // Four to one: four times as long as beside one, that is 14.4: 67 rows in all.
  CHECK(most <= 70);
  CHECK(total >= 30 * 30);
}

TEST("higher priority is served first, and takes the place of a lower one where there is none") {
  Line line(1000, 0, 2);
  line.submit(1, 10, 100);
  line.submit(2, 10, 100);
  line.step();
  line.submit(3, 10, 3, 5);
  auto rows = line.step();
  CHECK(rows.contains(3) && rows.contains(1) && !rows.contains(2));
  for (int i = 0; i < 5 && line.ended.empty(); ++i) CHECK(!line.step().contains(2));
  CHECK_EQ(line.ended.size(), size_t{1});
  CHECK(line.step().contains(2));
}

TEST("pages that run already are not counted for a prompt that starts alike") {
  Line line(10);  // 320 tokens.
  FakeTask* first = line.submit(1, 200, 20, 0, 5);
  line.step();
  line.step();
  first->ahead = 0;
  // 7 pages are taken; this one needs 7, of which it shares 6.
  FakeTask* second = line.submit(2, 210, 20, 0, 5);
  int32_t computed = 0;
  while (second->count() == 210) {
    const auto rows = line.step();
    CHECK(rows.contains(2));
    if (!rows.contains(2)) return;
    computed += rows.at(2);
  }
  CHECK_EQ(computed, 210 - 192);
  CHECK_EQ(second->restarts + first->restarts, 0);
}

TEST("of prompts that start alike one computes the common part, and the other takes it over") {
  Line line;
  line.submit(1, 100, 1, 0, 5);
  line.submit(2, 100, 1, 0, 5);
  const auto first = line.step();
  CHECK_EQ(first.size(), size_t{1});
  const auto second = line.step();
  CHECK_EQ(second.begin()->second, 4);
}

TEST("prompts that share steps preempt nobody: each starts with the pages for all of it") {
  Line line(20);
  std::vector<FakeTask*> tasks;
  for (uint64_t id = 1; id <= 8; ++id) tasks.push_back(line.submit(id, 150, 1));
  int steps = 0;
  while (line.ended.size() < 8 && ++steps < 100) {
    const std::vector<FakeTask*> before = tasks;
    line.step();
    for (size_t i = 0; i < before.size(); ++i) {
      if (std::find(line.ended.begin(), line.ended.end(), i + 1) == line.ended.end()) {
        CHECK_EQ(before[i]->restarts, 0);
      }
    }
  }
  CHECK_EQ(line.ended.size(), size_t{8});
}

TEST("prompts that start alike do not compute the common part side by side in one step") {
  Line line;
  FakeTask* first = line.submit(1, 50, 1, 0, 5);
  FakeTask* second = line.submit(2, 50, 1, 0, 5);
  CHECK(first->tokens() == second->tokens());
  line.submit(3, 20);
  // All three would fit into the rows of a step.
  const auto rows = line.step();
  CHECK_EQ(rows.size(), size_t{2});
  CHECK(rows.contains(1) && rows.contains(3));
  CHECK_EQ(line.step().at(2), 50 - kPageTokens);
}

TEST("a generation does not take the pages that a prompt before it was promised") {
  Line line(42);
  line.submit(1, 1280);  // 40 pages
  line.step();
  FakeTask* generation = line.submit(2, 10, 200);
  // It overtakes the prompt, has the two pages that are left after 64 tokens, and waits then.
  int32_t steps = 0, stood = 0;
  while (line.ended.empty() && ++steps < 300) {
    const auto rows = line.step();
    generation->ahead = 0;
    if (steps > 1) CHECK(rows.contains(1));
    stood += !rows.contains(2);
  }
  CHECK(line.ended == std::vector<uint64_t>{1});
  CHECK(stood > 0);
  CHECK_EQ(generation->restarts, 0);
  while (line.ended.size() < 2 && ++steps < 600) {
    generation->ahead = 0;
    line.step();
  }
  CHECK_EQ(line.ended.size(), size_t{2});
}

TEST("a prompt does not start on pages that another was promised, nor later ones before it") {
  Line line(25);
  line.submit(1, 640);  // 20 pages
  line.step();
  line.submit(2, 320);  // 10 pages, and next by its rank
  for (int i = 0; i < 3; ++i) CHECK_EQ(line.step().at(1), Scheduler::kPromptRows);
  line.submit(3, 60);  // 2 pages, which are there, but the second waits for them
  CHECK_EQ(line.step().at(1), Scheduler::kPromptRows);
  CHECK(line.scheduler.blocked());
  CHECK_EQ(line.ended.size(), size_t{1});
  CHECK(line.step().contains(2));
  for (int i = 0; i < 5; ++i) line.step();
  CHECK_EQ(line.ended.size(), size_t{3});
}

TEST("a prompt starts only where running generations keep a page to go on with") {
  Line line(5);
  FakeTask* generation = line.submit(1, 20, 30);  // Two pages in the end.
  line.step();
  FakeTask* prompt = line.submit(2, 128);  // 4 pages
  for (int i = 0; i < 29; ++i) {
    generation->ahead = 0;
    CHECK(line.step().contains(1));
  }
  CHECK_EQ(line.ended.size(), size_t{1});
  CHECK_EQ(prompt->restarts, 0);
  CHECK_EQ(line.step().at(2), 128);
}

TEST("a generation that finds no page takes those of a paused one before those of the last") {
  Line line(5);
  FakeTask* first = line.submit(1, 20, 40);
  FakeTask* paused = line.submit(2, 70, 40);
  FakeTask* last = line.submit(3, 20, 40);
  while (first->count() < 40) {
    line.step();
    first->ahead = last->ahead = 0;
  }
  CHECK_EQ(paused->restarts, 1);
  CHECK_EQ(last->restarts, 0);
}

TEST("a prompt that waits takes over what another with the same beginning computes meanwhile") {
  Line line;
  line.submit(1, 600, 1, 0, 5);
  int32_t computed = line.step().at(1);
  line.submit(2, 400, 1, 0, 5);  // Overtakes the first, from where that is.
  for (int32_t rows = computed; rows < 400;) {
    const auto step = line.step();
    CHECK(!step.contains(1));
    CHECK(step.contains(2));
    if (!step.contains(2)) return;
    rows += step.at(2);
  }
  while (line.ended.size() < 2) computed += line.step().at(1);
  CHECK_EQ(computed, 128 + 600 - 384);  // 12 pages are the second's.
}

TEST("a prompt that finds no pages starts on those of a paused generation") {
  Line line(10);
  FakeTask* paused = line.submit(1, 200, 30);  // 7 pages
  while (!paused->paused()) line.step();
  CHECK_EQ(line.step().size(), size_t{0});
  line.submit(2, 150);  // 5 pages
  CHECK(line.step().contains(2));
  CHECK_EQ(paused->restarts, 1);
  line.step();
  CHECK_EQ(line.ended.size(), size_t{1});
  // Its reader comes back: it goes on where it was.
  for (int i = 0; i < 40; ++i) {
    paused->ahead = 0;
    line.step();
    if (line.ended.size() == 2) break;
  }
  CHECK_EQ(line.ended.size(), size_t{2});
}

TEST("what steps cost is learnt, and estimated between what was seen") {
  StepTimes times;
  CHECK_EQ(times.estimate(5), 0.0);
  times.add(1, 1);
  CHECK_EQ(times.estimate(1), 1.0);
  CHECK(times.estimate(9) > 1 && times.estimate(9) <= 9);
  times.add(16, 4);
  CHECK(std::abs(times.estimate(8) - (1 + 3 * 7 / 15.0)) < 1e-9);
  for (int i = 0; i < 100; ++i) times.add(16, 8);
  CHECK(std::abs(times.estimate(16) - 8) < 0.01);
}

TEST("a slow step of long ago does not keep later ones small") {
  StepTimes times;
  times.add(1, 1);
  times.add(8, 2);
  times.add(16, 30);
  for (int i = 0; i < 60; ++i) times.doubt_above(8);
  // At best a row takes 2 / 8.
  CHECK(std::abs(times.estimate(16) - 4) < 1e-9);
  CHECK_EQ(times.estimate(8), 2.0);
  times.add(16, 3);
  for (int i = 0; i < 60; ++i) times.doubt_above(16);
  CHECK_EQ(times.estimate(16), 3.5);
}
