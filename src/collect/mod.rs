//! What reads AWS: accounts, Regions, the inventory, CloudTrail look-ups, AWS Config.
