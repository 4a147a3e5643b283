//! SQL for the people who are present, shared by several statements.

/// The people present at property $1 at $2: those whose last punch, at any property, is an `in` at this
/// one. Punches dated later than $2 are ignored.
macro_rules! present {
    () => {
        "
        SELECT position.department_id, position.id AS position_id, person.id AS staff_id,
               person.display_name, position.name AS position, last.punched_at
        FROM staff.staff AS person
        JOIN staff.positions AS position ON position.id = person.position_id
        JOIN LATERAL (
            SELECT direction, property_id, punched_at
            FROM staff.clock_entries AS entry
            WHERE entry.staff_id = person.id AND entry.punched_at <= $2::timestamptz
            ORDER BY entry.punched_at DESC, entry.id DESC
            LIMIT 1
        ) AS last ON last.direction = 'in' AND last.property_id = $1::text
        WHERE person.status <> 'terminated'"
    };
}
pub(crate) use present;
