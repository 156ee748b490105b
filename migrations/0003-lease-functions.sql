-- The authority over limits (docs/decisions/0004): leases are set here, under a lock on their counter, and nowhere else.

-- The limit of a rule as it stands now, and the time in which all of it comes back, for limits per minute and per hour. NULL when the rule is gone.
CREATE FUNCTION limit_of(rule text, tenant text, OUT capacity bigint, OUT period_ms bigint) LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(amount_nanos), 0)::bigint, NULL::bigint FROM credit_grants WHERE rule = 'credit' AND tenant_id = tenant HAVING rule = 'credit'
  UNION ALL
  SELECT limit_value, CASE time_window WHEN 'minute' THEN 60000 WHEN 'hour' THEN 3600000 END FROM limit_rules WHERE id = rule
$$;

-- How much of such a limit may have been granted in all by now: a bucket of `capacity` that fills evenly in `period_ms`, told as a sum that only grows,
-- so that leases stay cumulative. `used` is what was taken at least: the bucket is never fuller than its capacity beyond it. A clock that was set
-- back adds nothing.
CREATE FUNCTION grow_allowance(counter limit_counters, capacity bigint, period_ms bigint, used numeric) RETURNS limit_counters LANGUAGE plpgsql AS $$
DECLARE
  elapsed_ms numeric := extract(epoch FROM clock_timestamp() - counter.allowed_at) * 1000;
  grown numeric;
BEGIN
  IF counter.allowance IS NULL THEN
    counter.allowance := capacity;
    counter.allowed_at := clock_timestamp();
  ELSE
    -- All that came back, for a bucket that was overdrawn may need more than one period to be empty.
    grown := floor(capacity::numeric * greatest(elapsed_ms, 0) / period_ms);
    -- What is less than one unit stays in the time that is left over.
    counter.allowed_at := CASE
      WHEN elapsed_ms >= 0 AND capacity > 0 THEN counter.allowed_at + make_interval(secs => (grown * period_ms / capacity / 1000)::double precision)
      ELSE clock_timestamp()
    END;
    counter.allowance := least(counter.allowance + grown + capacity - counter.capacity, used + capacity);
  END IF;
  counter.capacity := capacity;
  counter.allowance := least(counter.allowance, used + capacity);
  RETURN counter;
END $$;

-- Tells all gateways what happened to a counter: 'recall' asks its holders to return what they do not use, 'returned' wakes those who wait for it.
CREATE FUNCTION notify_limit(what text, rule text, who text, starts timestamptz, life text, number bigint) RETURNS void LANGUAGE sql AS $$
  SELECT pg_notify('limits', json_build_array(what, rule, who, (extract(epoch FROM starts) * 1000)::bigint, life, number)::text)
$$;

-- Sets the leases of one life of a gateway. Each wish names a counter, what the life has used of it, the least that would help it (`need`) and
-- what it would like (`wish`), all cumulative, so a repeated call changes nothing. A lease never falls below `keep`, which
-- the holder goes on spending meanwhile. Room that suffices is
-- granted up to half of an even share of what is left, and in a shortage exactly as needed. Room that does not suffice starts a recall: the
-- reply counts the living holders that have not answered it. Locks counters in the order of their keys.
CREATE FUNCTION lease_limits(life text, gateway text, wishes jsonb)
RETURNS TABLE ("position" bigint, granted bigint, limit_value bigint, left_over bigint, unused_elsewhere bigint, held_elsewhere bigint, tight boolean, recall bigint, unanswered bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  this record;
  counter limit_counters%ROWTYPE;
  own record;
  lives text[];
  lost text[];
  top bigint;
  period bigint;
  ceiling bigint;
  room bigint;
  is_short boolean;
  is_tight boolean;
  has_answered boolean;
  now_granted bigint;
  asked bigint;
  answered_now bigint;
BEGIN
  INSERT INTO gateway_lives (id, gateway_id) VALUES (life, gateway)
  ON CONFLICT (id) DO UPDATE SET seen_at = now() WHERE gateway_lives.seen_at < now() - interval '1 second';
  IF EXISTS (SELECT 1 FROM gateway_lives WHERE id = life AND ended_at IS NOT NULL) THEN
    RAISE EXCEPTION 'life % of gateway % has ended', life, gateway USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  lives := ARRAY(SELECT id FROM gateway_lives WHERE ended_at IS NULL AND seen_at > now() - interval '10 seconds');
  -- Perhaps only starting again: what they hold comes back with their journal.
  lost := ARRAY(SELECT id FROM gateway_lives WHERE seen_at BETWEEN now() - interval '60 seconds' AND now() AND NOT id = ANY (lives));

  FOR this IN
    SELECT * FROM ROWS FROM (jsonb_to_recordset(wishes) AS (
      rule_id text, subject text, tenant_id text, window_start timestamptz, window_end timestamptz, used bigint, keep bigint, held bigint, need bigint, wish bigint, answers bigint, recall bigint
    )) WITH ORDINALITY ORDER BY rule_id, subject, window_start
  LOOP
    SELECT l.capacity, l.period_ms INTO top, period FROM limit_of(this.rule_id, this.tenant_id) l;
    CONTINUE WHEN top IS NULL;
    LOOP
      SELECT * INTO counter FROM limit_counters c
      WHERE c.rule_id = this.rule_id AND c.subject = this.subject AND c.window_start = this.window_start FOR UPDATE;
      EXIT WHEN FOUND;
      INSERT INTO limit_counters (rule_id, subject, window_start, tenant_id, window_end)
      VALUES (this.rule_id, this.subject, this.window_start, this.tenant_id, this.window_end) ON CONFLICT DO NOTHING;
    END LOOP;
    -- Of its own lease, and of those of others. A new recall is answered by nobody yet.
    SELECT
      coalesce(sum(l.granted) FILTER (WHERE l.life_id = life), 0) AS granted,
      coalesce(sum(l.spent) FILTER (WHERE l.life_id = life), 0) AS spent,
      coalesce(sum(l.used) FILTER (WHERE l.life_id = life), 0) AS used,
      coalesce(sum(l.held) FILTER (WHERE l.life_id = life), 0) AS held,
      coalesce(sum(l.answered) FILTER (WHERE l.life_id = life), 0) AS answered,
      -- A life that passed a soft limit has spent more than it was granted.
      coalesce(sum(greatest(l.granted, l.spent)) FILTER (WHERE l.life_id <> life), 0) AS granted_elsewhere,
      coalesce(sum(greatest(l.used, l.spent)) FILTER (WHERE l.life_id <> life), 0) AS used_elsewhere,
      coalesce(sum(CASE
        WHEN l.life_id = life THEN 0
        WHEN l.life_id = ANY (lives) THEN greatest(l.granted - greatest(l.used, l.spent), 0)
        WHEN l.life_id = ANY (lost) THEN greatest(l.granted - l.spent, 0)
      END), 0) AS unused_elsewhere,
      coalesce(sum(l.held) FILTER (WHERE l.life_id <> life AND l.life_id = ANY (lives)), 0) AS held_elsewhere,
      count(*) FILTER (WHERE l.life_id <> life AND l.life_id = ANY (lives) AND (this.recall IS NULL OR l.answered < this.recall)) AS unanswered
    INTO own FROM limit_leases l
    WHERE l.rule_id = this.rule_id AND l.subject = this.subject AND l.window_start = this.window_start;
    ceiling := top;
    IF period IS NOT NULL THEN
      -- Of its own what it told last, unless it is less by now: when it took the rest is not known, and a bucket that was full until then has not grown.
      counter := grow_allowance(counter, top, period, own.used_elsewhere + least(this.used, greatest(own.used, own.spent)));
      ceiling := counter.allowance;
    END IF;
    -- The most that this life may have.
    room := ceiling - own.granted_elsewhere;
    is_short := this.need > this.used AND this.need > room;
    asked := counter.recall;
    IF is_short THEN
      counter.tight_until := clock_timestamp() + interval '5 seconds';
      IF this.recall IS NULL THEN
        counter.recall := counter.recall + 1;
      END IF;
      asked := coalesce(this.recall, counter.recall);
      -- Again with each repetition: a notice may have been lost.
      PERFORM notify_limit('recall', this.rule_id, this.subject, this.window_start, life, asked);
    END IF;
    is_tight := coalesce(counter.tight_until > clock_timestamp(), false);

    now_granted := CASE
      -- None of those who wait here fits: what is not used may help elsewhere.
      WHEN this.wish <= this.used OR is_short THEN this.used
      -- A holder that has not heard of the recall asks for more than it would if it had.
      WHEN is_tight AND this.answers < counter.recall THEN least(this.need, room)
      WHEN is_tight THEN least(this.wish, room)
      ELSE greatest(this.need, least(this.wish, this.used + (room - this.used) / (2 * greatest(cardinality(lives), 1))))
    END;
    now_granted := greatest(now_granted, this.keep);

    -- A holder that keeps what it does not use has not heard of the recall yet.
    has_answered := is_tight AND this.keep <= this.used;
    -- What is granted in a shortage has its taker waiting.
    IF has_answered THEN
      this.held := this.held + (now_granted - this.used);
      this.used := now_granted;
    END IF;
    -- Those who wait learn that something came back, or will not.
    answered_now := CASE WHEN has_answered THEN counter.recall ELSE greatest(this.answers, own.answered) END;
    IF is_tight AND (now_granted < own.granted OR answered_now > own.answered OR this.held < own.held) THEN
      PERFORM notify_limit('returned', this.rule_id, this.subject, this.window_start, life, answered_now);
    END IF;
    INSERT INTO limit_leases (rule_id, subject, window_start, life_id, granted, used, held, answered)
    VALUES (this.rule_id, this.subject, this.window_start, life, now_granted, this.used, this.held, answered_now)
    ON CONFLICT (rule_id, subject, window_start, life_id) DO UPDATE
    SET granted = excluded.granted, used = excluded.used, held = excluded.held, answered = excluded.answered;
    UPDATE limit_counters c SET granted = own.granted_elsewhere + now_granted, recall = counter.recall, tight_until = counter.tight_until,
      allowance = counter.allowance, capacity = counter.capacity, allowed_at = counter.allowed_at
    WHERE c.rule_id = this.rule_id AND c.subject = this.subject AND c.window_start = this.window_start;

    "position" := this.ordinality;
    granted := now_granted;
    limit_value := top;
    left_over := ceiling - own.granted_elsewhere - now_granted;
    unused_elsewhere := own.unused_elsewhere;
    held_elsewhere := own.held_elsewhere;
    tight := is_tight;
    recall := asked;
    unanswered := CASE WHEN is_short THEN own.unanswered ELSE 0 END;
    RETURN NEXT;
  END LOOP;
END $$;

-- Ends the lives of a gateway that began before the named one, and that one too if `itself`; all of them where the name is empty. Their leases fall to
-- what was spent: their journals must be settled and in the ledger. Lives that begin later are never ended, however late this commits.
CREATE FUNCTION reclaim_leases(gateway text, life text, itself boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  this record;
  last bigint;
BEGIN
  IF life = '' THEN
    SELECT max(number) INTO last FROM gateway_lives WHERE gateway_id = gateway;
  ELSE
    INSERT INTO gateway_lives (id, gateway_id) VALUES (life, gateway) ON CONFLICT DO NOTHING;
    SELECT CASE WHEN itself THEN number ELSE number - 1 END INTO last FROM gateway_lives WHERE id = life;
  END IF;
  UPDATE gateway_lives SET ended_at = now() WHERE gateway_id = gateway AND number <= last AND ended_at IS NULL;
  FOR this IN
    SELECT l.rule_id, l.subject, l.window_start, l.life_id FROM limit_leases l JOIN gateway_lives g ON g.id = l.life_id
    WHERE g.gateway_id = gateway AND g.number <= last AND l.granted <> l.spent
    ORDER BY l.rule_id, l.subject, l.window_start
  LOOP
    PERFORM 1 FROM limit_counters c
    WHERE c.rule_id = this.rule_id AND c.subject = this.subject AND c.window_start = this.window_start FOR UPDATE;
    UPDATE limit_leases l SET granted = spent, used = spent, held = 0
    WHERE l.rule_id = this.rule_id AND l.subject = this.subject AND l.window_start = this.window_start AND l.life_id = this.life_id;
    PERFORM notify_limit('returned', this.rule_id, this.subject, this.window_start, this.life_id, 0);
  END LOOP;
END $$;

-- Forgets windows that ended two days ago: late enough for a clock that jumps, early enough to stay small. Returns how many.
CREATE FUNCTION purge_limits() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  gone bigint;
BEGIN
  WITH old AS (
    DELETE FROM limit_counters WHERE (rule_id, subject, window_start) IN (
      SELECT rule_id, subject, window_start FROM limit_counters WHERE window_end < now() - interval '2 days' LIMIT 5000 FOR UPDATE SKIP LOCKED
    ) RETURNING rule_id, subject, window_start
  ), leases AS (
    DELETE FROM limit_leases USING old
    WHERE limit_leases.rule_id = old.rule_id AND limit_leases.subject = old.subject AND limit_leases.window_start = old.window_start
  )
  SELECT count(*) INTO gone FROM old;
  RETURN gone;
END $$;

REVOKE EXECUTE ON FUNCTION lease_limits(text, text, jsonb), reclaim_leases(text, text, boolean), purge_limits() FROM public;
GRANT EXECUTE ON FUNCTION lease_limits(text, text, jsonb), reclaim_leases(text, text, boolean), purge_limits() TO colonnade_platform;
