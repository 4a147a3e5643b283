-- How many people a shift needs: with its primary assignments it says where the plan has too few.
ALTER TABLE staff.shifts ADD COLUMN required integer NOT NULL DEFAULT 1 CHECK (required > 0);
