#include "model/pages.h"

#include <bit>
#include <random>

namespace tramontane {
namespace {

struct Secret {
  uint64_t words[4];
  Secret() {
    std::random_device random;
    for (uint64_t& word : words) word = (uint64_t{random()} << 32) | random();
  }
};

const Secret& secret() {
  static const Secret instance;
  return instance;
}

}  // namespace

KeyedHash::KeyedHash()
    : high_(secret().words[0], secret().words[1]), low_(secret().words[2], secret().words[3]) {}

PageKey PageKey::root(uint64_t salt) { return {salt, 0}; }

PageKey PageKey::root(const PageKey& adapter, float scale, uint64_t salt) {
  KeyedHash hash;
  hash.add(adapter.high);
  hash.add(adapter.low);
  hash.add(std::bit_cast<uint32_t>(scale));
  hash.add(salt);
  return hash.finish();
}

PageKey PageKey::next(const int32_t* tokens) const {
  KeyedHash hash;
  hash.add(high);
  hash.add(low);
  for (int i = 0; i < kPageTokens; i += 2) {
    hash.add((uint64_t{static_cast<uint32_t>(tokens[i])} << 32) |
             static_cast<uint32_t>(tokens[i + 1]));
  }
  return hash.finish();
}

PagePool::PagePool(int32_t pages) : size_(pages) {}

int32_t PagePool::take() {
  int32_t page;
  if (first_.head < 0 && !emptied_.empty()) {
    page = emptied_.back();
    emptied_.pop_back();
  } else if (first_.head < 0 && pages_.size() < static_cast<size_t>(size_)) {
    page = static_cast<int32_t>(pages_.size());
    pages_.emplace_back();
  } else {
    page = take_unowned();
    if (page < 0) return -1;
  }
  pages_[page].owners = 1;
  ++in_use_;
  return page;
}

std::vector<int32_t> PagePool::empty(int32_t count) {
  std::vector<int32_t> pages;
  for (int32_t page; count > 0 && (page = take_unowned()) >= 0; --count) pages.push_back(page);
  emptied_.insert(emptied_.end(), pages.begin(), pages.end());
  return pages;
}

// Out of its list, and not to be found any more. -1 when both lists are empty.
int32_t PagePool::take_unowned() {
  const int32_t page = first_.head >= 0 ? first_.head : last_.head;
  if (page < 0) return -1;
  unlink(page);
  if (pages_[page].keyed) {
    by_key_.erase(pages_[page].key);
    pages_[page].keyed = false;
  }
  return page;
}

void PagePool::share(int32_t page) {
  if (pages_[page].owners++ == 0) {
    unlink(page);
    ++in_use_;
  }
}

void PagePool::release(int32_t page, Reuse reuse) {
  if (--pages_[page].owners > 0) return;
  --in_use_;
  // A page that cannot be found again has nothing to keep.
  append(page, pages_[page].keyed ? reuse : Reuse::kFirst);
}

void PagePool::publish(int32_t page, const PageKey& key, const int32_t* tokens) {
  Page& p = pages_[page];
  if (p.keyed || !by_key_.emplace(key, page).second) return;
  p.keyed = true;
  p.key = key;
  std::memcpy(p.tokens.data(), tokens, sizeof p.tokens);
}

int32_t PagePool::find(const PageKey& key, const int32_t* tokens) const {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return -1;
  const Page& p = pages_[found->second];
  return std::memcmp(p.tokens.data(), tokens, sizeof p.tokens) == 0 ? found->second : -1;
}

void PagePool::append(int32_t page, Reuse reuse) {
  List& l = list(reuse);
  Page& p = pages_[page];
  p.reuse = reuse;
  p.previous = l.tail;
  p.next = -1;
  (l.tail < 0 ? l.head : pages_[l.tail].next) = page;
  l.tail = page;
  if (p.keyed) ++cached_;
}

void PagePool::unlink(int32_t page) {
  Page& p = pages_[page];
  List& l = list(p.reuse);
  (p.previous < 0 ? l.head : pages_[p.previous].next) = p.next;
  (p.next < 0 ? l.tail : pages_[p.next].previous) = p.previous;
  if (p.keyed) --cached_;
}

}  // namespace tramontane
