"""Deals out quotas where all routers meet: a script that Redis runs whole, so that no router sees half of another's report.

A tenant has one key, a hash:

    level0, level1   requests and rows that are left, at the time `at`; negative when more was admitted than there was
    r:<router>       what a router last reported and was granted: [time, total0, demand0, granted0, fill0, total1, demand1, granted1,
                     fill1, rows in flight, most rows in flight], as MessagePack

A router's part of a quota is its share of the demand, a tenth of it dealt out evenly. It is granted that part of what is left, but no
more than the others do not hold, except while more than half of a burst is left: a caller who comes to a router that held nothing is
then better answered than the bound kept to the last token. It may run while Redis is out of memory: what it writes is small and bounded.
"""

from __future__ import annotations

from urllib.parse import quote

from services.chassis.redis_client import Command
from services.router.quota_share import FLOOR, Numbers

ROUTER_SECONDS = 3.0
"""Time after its last report after which a router counts no more."""
KEEP_SECONDS = 600
"""Life of what nobody reports on any more."""
PREFIX = "penstock:{quotas}:"
"""The braces keep all keys on one shard of a Redis cluster."""

SCRIPT = """#!lua flags=allow-oom
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local me, forget, floor, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local routers = 1
local seen = redis.call('HGETALL', KEYS[1])
for i = 1, #seen, 2 do
  if seen[i] ~= me then
    if now - tonumber(seen[i + 1]) > forget then redis.call('HDEL', KEYS[1], seen[i]) else routers = routers + 1 end
  end
end
redis.call('HSET', KEYS[1], me, string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], keep)

local function read(key)
  local fields, own, others = {}, nil, {}
  local held = redis.call('HGETALL', key)
  for i = 1, #held, 2 do
    local name, value = held[i], held[i + 1]
    if string.sub(name, 1, 2) ~= 'r:' then
      fields[name] = tonumber(value)
    else
      local record = cmsgpack.unpack(value)
      if name == 'r:' .. me then own = record
      elseif now - record[1] > forget then redis.call('HDEL', key, name)
      else others[#others + 1] = record end
    end
  end
  return fields, own, others
end

local function deal(fields, own, others, number, given)
  local rate, burst, total, base, known, demand, grain = unpack(given)
  if rate < 0 then return {total, demand, 0, 0}, 0, 0, nil end
  local level = fields['level' .. number]
  if level == nil then level = known
  else level = math.min(burst, level + rate * math.max(0, now - (fields['at'] or now))) end
  local at = 2 + 4 * number
  local before = own and own[at] or base
  if total > before then level = level - (total - before) end
  local all, held, n = demand, 0, #others + 1
  for _, record in ipairs(others) do
    all = all + record[at + 1]
    held = held + math.max(0, record[at + 2] + record[at + 3] * (now - record[1]))
  end
  local part = floor / n + (1 - floor) * (all > 0 and demand / all or 1 / n)
  local granted = part * level
  if level > 0 then
    local wanted = math.max(granted, math.min(level, grain))
    granted = math.min(wanted, math.max(level - held, wanted * (2 * level / burst - 1), 0))
  end
  return {total, demand, granted, part * rate}, part, granted, level
end

local told = {tostring(routers)}
for index = 2, #KEYS do
  local at = 5 + (index - 2) * 17
  local given = {}
  for i = 0, 16 do given[i + 1] = tonumber(ARGV[at + i]) end
  local fields, own, others = read(KEYS[index])
  local record, words, writes = {now}, {}, {'at', string.format('%.6f', now)}
  for number = 0, 1 do
    local kept, part, granted, level = deal(fields, own, others, number, {unpack(given, 1 + 7 * number, 7 + 7 * number)})
    for _, value in ipairs(kept) do record[#record + 1] = value end
    words[#words + 1] = string.format('%.17g %.17g %.17g', granted, part, level or 0)
    if level then
      writes[#writes + 1] = 'level' .. number
      writes[#writes + 1] = string.format('%.17g', level)
    end
  end
  local in_flight, most, wanted = given[15], given[16], given[17]
  local allowed = -1
  if most >= 0 then
    local even, taken = most / (#others + 1), 0
    for _, other in ipairs(others) do taken = taken + other[11] end
    allowed = math.max(even, math.min(math.max(wanted, even), most - taken))
  end
  record[10], record[11] = in_flight, math.max(allowed, 0)
  writes[#writes + 1] = 'r:' .. me
  writes[#writes + 1] = cmsgpack.pack(record)
  redis.call('HSET', KEYS[index], unpack(writes))
  redis.call('EXPIRE', KEYS[index], keep)
  words[#words + 1] = string.format('%.17g', allowed)
  told[#told + 1] = table.concat(words, ' ')
end
return told
"""


def command(router: str, reports: list[tuple[str, Numbers]]) -> Command:
    """Return the call that reports tenants, by name; an empty list still says that this router is there."""
    keys = [f"{PREFIX}routers", *(f"{PREFIX}of:{quote(name, safe='')}" for name, _ in reports)]
    numbers = [repr(number) for _, report in reports for number in report]
    return ("EVAL", SCRIPT, len(keys), *keys, router, ROUTER_SECONDS, FLOOR, KEEP_SECONDS, *numbers)


def answer(reply: list[bytes]) -> tuple[int, list[Numbers]]:
    """Return how many routers there are, and what was dealt for each report, in their order.

    Raises:
        ValueError: the reply is none of the script's.
    """
    dealt = [tuple(float(word) for word in one.split()) for one in reply[1:]]
    if any(len(one) != 7 for one in dealt):
        raise ValueError("a reply of 7 numbers a tenant was expected")
    return int(reply[0]), dealt
